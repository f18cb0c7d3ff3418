"""The statistics of sweeps: against SciPy, on samples whose truth is known, and with runs that diverged."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from minigrad.study.sweeps import statistics

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "sweep_statistics.json").read_text())
INF, NAN = math.inf, math.nan
SAMPLERS = {
    "normal": (lambda rng, shape: rng.standard_normal(shape), 0.0),
    "log-normal": (lambda rng, shape: np.exp(rng.standard_normal(shape)), 1.0),
    "Cauchy": (lambda rng, shape: rng.standard_cauchy(shape), 0.0),
    "uniform": (lambda rng, shape: rng.random(shape), 0.5),
}


# --- medians and their bands -----------------------------------------------------------------------------------------


def test_medians_are_those_of_numpy_and_leave_out_missing_runs():
    values = np.random.default_rng(0).standard_normal((4, 7))
    assert np.array_equal(statistics.medians(values), np.median(values, -1))
    assert np.array_equal(statistics.medians(values[:, :6]), np.median(values[:, :6], -1))
    assert statistics.medians([3.0, NAN, 1.0, 2.0]) == 2.0
    assert statistics.medians([NAN, 3.0, NAN, 1.0, NAN]) == 2.0
    assert np.isnan(statistics.medians([NAN, NAN]))
    assert np.isnan(statistics.medians(np.empty((2, 0)))).all()


def test_a_median_is_infinite_once_half_of_the_runs_diverged():
    assert statistics.medians([1.0, 2.0, INF]) == 2.0
    assert statistics.medians([1.0, 2.0, INF, INF]) == INF


@pytest.mark.parametrize("case", GOLDEN["bands"], ids=lambda case: f"{len(case['values'])}-{case['confidence']}")
def test_the_band_of_a_median_is_that_of_scipy(case):
    found = statistics.median_band(case["values"], case["confidence"])
    assert (found.low, found.high) == pytest.approx((case["low"], case["high"]), rel=1e-12)
    assert found.value == np.median(case["values"])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("seeds", [5, 8, 15])
def test_the_90_percent_band_covers_the_median_in_88_to_92_percent_of_samples(seeds, sampler):
    draw, truth = SAMPLERS[sampler]
    samples = draw(np.random.default_rng(seeds), (6000, seeds))
    bands = [statistics.median_band(sample) for sample in samples]
    covered = np.mean([band.low <= truth <= band.high for band in bands])
    assert 0.88 < covered < 0.92  # the standard error of the share is 0.004


def test_fewer_seeds_than_needed_give_the_range_which_covers_less():
    assert statistics.median_band([3.0, 1.0, 2.0, 9.0])[1:] == (1.0, 9.0)
    assert statistics.median_band([2.0]) == (2.0, 2.0, 2.0)
    assert np.isnan(statistics.median_band([NAN])).all()
    n = statistics.SEEDS_NEEDED
    assert 1 - 2.0 ** (1 - n) >= statistics.CONFIDENCE > 1 - 2.0 ** (2 - n)


def test_a_band_reaches_infinity_where_a_run_diverged():
    found = statistics.median_band([1.0, 2.0, 3.0, 4.0, INF])
    assert found.value == 3.0
    assert 1.0 < found.low < 2.0
    assert found.high == INF
    assert statistics.median_band([INF] * 5) == (INF, INF, INF)


# --- the bootstrap ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["bootstraps"], ids=lambda case: f"{case['statistic']}-{len(case['values'])}")
def test_the_bootstrap_is_that_of_scipy(case):
    statistic = {"mean": lambda x: x.mean(-1), "median": statistics.medians}[case["statistic"]]
    found = statistics.bootstrap(case["values"], statistic, 0.9, 2000, seed=3)
    assert (found.low, found.high) == pytest.approx((case["low"], case["high"]), rel=1e-12)


def test_a_resample_draws_the_same_seeds_for_every_rate():
    values = np.arange(5.0) + np.array([[0.0], [100.0]])
    drawn = statistics.resampled(values, lambda x: x[1] - x[0], 50)
    assert (drawn == 100.0).all()
    assert drawn.shape == (50, 5)


def test_every_call_gives_the_same_result_and_another_seed_another_one():
    losses = np.random.default_rng(0).random((9, 5))
    for function in (statistics.best_place, lambda x, **k: statistics.sensitivity(x, 2.0, **k)):
        assert function(losses) == function(losses)
    drawn = [statistics.resampled(losses, lambda x: x.mean((0, -1)), seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


# --- rates -----------------------------------------------------------------------------------------------------------


def bowl(noise, seeds, rng=None):
    """Rates from 1e-4 to 1 whose loss is a parabola with its minimum 0.2 at 0.01, with noise of the seeds."""
    rates = np.logspace(-4, 0, 9)
    truth = 0.2 + 0.3 * (np.log10(rates) + 2) ** 2
    drawn = (rng or np.random.default_rng(0)).standard_normal((9, seeds))
    return rates, truth[:, None] + noise * drawn


def test_the_best_rate_is_that_of_the_lowest_median():
    rates, losses = bowl(0.0, 5)
    assert rates[list(statistics.best_place(losses))] == pytest.approx([0.01] * 3)
    losses[4] = INF  # which diverged, so the next to it are best, and the first of them is chosen
    assert statistics.best_place(losses)[0] == 3
    losses[3] = NAN  # and was not run
    assert statistics.best_place(losses)[0] == 5
    assert statistics.best_place(np.full((3, 5), INF)) is None


def test_the_interval_of_the_best_rate_covers_the_true_one_and_widens_with_noise():
    rng, found = np.random.default_rng(0), {}
    for noise in (0.02, 0.1, 0.3):
        places = [statistics.best_place(bowl(noise, 5, rng)[1], seed=i) for i in range(200)]
        assert np.mean([low <= 4 <= high for _, low, high in places]) >= 0.9
        found[noise] = np.mean([high - low for _, low, high in places])
    assert found[0.02] < found[0.1] < found[0.3]


def test_the_width_is_that_of_the_region_within_a_distance_of_the_best():
    rates, losses = bowl(0.0, 5)
    # Linear between the rates: from 0.2 at 0.01 to 0.275 at half a decade, so 0.03 is reached after 0.2 decades.
    assert statistics.good_width(rates, losses, 0.03)[0] == pytest.approx(0.4)
    assert statistics.good_width(rates, losses, 0.15, relative=True)[0] == pytest.approx(0.4)
    assert statistics.good_width(rates, losses, 0.1)[0] == pytest.approx(1 + 2 * 0.5 * 0.025 / 0.225)
    everywhere = statistics.good_width(rates, losses, 5.0)
    assert everywhere.value == pytest.approx(4.0)
    assert everywhere.is_open
    assert not statistics.good_width(rates, losses, 0.1).is_open


def test_the_good_region_ends_at_the_last_good_rate_before_one_that_diverges():
    rates, losses = bowl(0.0, 5)
    losses[5:] = INF
    assert statistics.good_width(rates, losses, 0.1).value == pytest.approx(0.5 + 0.5 * 0.025 / 0.225)
    losses[:4] = INF
    assert statistics.good_width(rates, losses, 0.1).value == 0.0
    assert statistics.good_width(rates, np.full((9, 5), INF), 0.1).value == 0.0


def test_a_second_good_region_is_not_part_of_the_first():
    losses = np.repeat([[0.3], [1.0], [0.2], [0.2], [1.0], [0.2]], 5, axis=1)
    found = statistics.good_width(10.0 ** np.arange(6), losses, 0.01)
    assert found.value == pytest.approx(1 + 2 * 0.01 / 0.8)
    assert not found.is_open


def test_the_sensitivity_is_the_mean_excess_over_the_best_capped_at_the_initial_loss():
    losses = np.repeat([[2.0], [0.5], [0.1], [7.0], [INF]], 5, axis=1)
    # Wortsman et al. 2023: the mean of min(loss, initial) - best.
    expected = np.mean([min(loss, 2.3) - 0.1 for loss in (2.0, 0.5, 0.1, 7.0, INF)])
    assert statistics.sensitivity(losses, 2.3) == pytest.approx((expected, expected, expected))


def test_the_interval_of_width_and_sensitivity_covers_the_truth_if_seeds_vary_little():
    rng, widths, excesses = np.random.default_rng(1), [], []
    rates, exact = bowl(0.0, 1)
    width, excess = statistics.good_width(rates, exact, 0.1).value, statistics.sensitivity(exact, 1.2).value
    for i in range(200):
        losses = bowl(0.03, 8, rng)[1]
        found = statistics.good_width(rates, losses, 0.1, seed=i)
        widths.append(found.low <= width <= found.high)
        found = statistics.sensitivity(losses, 1.2, seed=i)
        excesses.append(found.low <= excess <= found.high)
    assert 0.84 < np.mean(widths) < 0.97
    assert 0.82 < np.mean(excesses) < 0.97


# --- targets ---------------------------------------------------------------------------------------------------------


def test_the_first_epoch_within_a_target_counts_even_if_the_curve_rises_later():
    assert statistics.first_within([0.9, 0.5, 0.8], 0.5) == 2
    assert statistics.first_within([0.9, NAN, 0.4], 0.5) == 3
    assert statistics.first_within([0.9], 0.5) == INF
    assert statistics.first_within([], 0.5) == INF


def test_performance_profiles_of_dolan_and_more():
    costs = [[10.0, 30.0, INF, INF], [20.0, 10.0, 5.0, INF]]
    taus, shares = statistics.performance_profile(costs)
    assert taus.tolist() == [1.0, 2.0, 3.0]
    # The fourth problem is solved by none, so no profile reaches 1.
    assert shares.tolist() == [[0.25, 0.25, 0.5], [0.5, 0.75, 0.75]]


def test_profiles_refuse_costs_that_are_none():
    for costs in ([[0.0]], [[NAN]], [[-1.0]], [1.0], []):
        with pytest.raises(ValueError, match="performance_profile: costs must be"):
            statistics.performance_profile(costs)


# --- differences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["sign_flips"], ids=lambda case: str(len(case["first"])))
def test_the_interval_holds_the_centers_that_the_sign_flip_test_of_scipy_does_not_reject(case):
    found = statistics.paired_difference(case["first"], case["second"])
    step = 2.0 ** (1 - len(case["first"]))  # p-values are multiples of it, and the ends are interpolated
    for center, p in case["tests"]:
        if p <= 0.1 - step:
            assert not found.low <= center <= found.high
        if p >= 0.1 + step:
            assert found.low <= center <= found.high
    assert found.value == pytest.approx(np.mean(np.subtract(case["first"], case["second"])))


def test_with_5_seeds_only_differences_of_one_sign_tell_two_apart():
    rng = np.random.default_rng(0)
    for signs in itertools.product((-1.0, 1.0), repeat=5):
        differences = np.array(signs) * rng.uniform(1.0, 1.2, 5)
        found = statistics.paired_difference(differences, np.zeros(5))
        assert found.is_apart == (abs(sum(signs)) == 5)


@pytest.mark.parametrize("seeds", [5, 8, 14])
def test_the_90_percent_interval_covers_the_difference_in_88_to_92_percent_of_samples(seeds):
    rng, covered = np.random.default_rng(seeds), []
    for _ in range(2000):
        common = 10 * rng.standard_normal(seeds)  # which both share, so the pairs take it away
        found = statistics.paired_difference(common + rng.standard_normal(seeds), common + rng.laplace(0.5, 1, seeds))
        covered.append(found.low <= -0.5 <= found.high)
    assert 0.88 < np.mean(covered) < 0.92  # the standard error of the share is 0.007


def test_too_few_seeds_never_tell_two_apart():
    found = statistics.paired_difference([1.0, 2.0, 3.0, 4.0], [0.0] * 4)
    assert (found.low, found.high) == (-INF, INF)
    assert not found.is_apart
    assert statistics.paired_difference([1.0, NAN], [NAN, 1.0]).seeds == 0


def test_a_seed_that_only_one_of_them_has_does_not_count():
    found = statistics.paired_difference([1.0] * 5 + [9.0, NAN], [0.0] * 5 + [NAN, 9.0])
    assert found.seeds == 5
    assert found[:3] == (1.0, 1.0, 1.0)


def test_a_run_that_diverged_is_infinitely_worse_than_one_that_did_not():
    found = statistics.paired_difference([INF, 2.0, 2.0, 2.0, 2.0], [1.0] * 5)
    assert found.value == INF
    assert found.low == 1.0
    assert found.is_apart
    both = statistics.paired_difference([INF, 1.0, 1.0, 1.0, 1.0], [INF, 1.0, 1.0, 1.0, 1.0])
    assert both[:3] == (0.0, 0.0, 0.0)
    crossed = statistics.paired_difference([INF, 1.0, 1.0, 1.0, 1.0], [1.0, INF, 1.0, 1.0, 1.0])
    assert (crossed.low, crossed.high) == (-INF, INF)
    assert not crossed.is_apart
