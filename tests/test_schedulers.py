"""Schedulers: any option of any optimizer, groups added later, looking ahead, warnings and errors."""

import copy
import json
import math
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

from minigrad import clipping, nn, optim, tensor
from minigrad import schedulers as S


def parameter(size=3):
    return nn.Parameter(np.ones(size))


def sgd(*rates, **options):
    groups = [{"params": [parameter()], "lr": rate} for rate in rates or (0.1,)]
    return optim.SGD(groups, **{"momentum": 0.9, **options})


def options_of(optimizer):
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def follow(optimizer, scheduler, steps, option="lr"):
    values = []
    for _ in range(steps):
        values.append([group[option] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return np.array(values)


# What is scheduled


@pytest.mark.parametrize("option", ["lr", "momentum", "weight_decay", "dampening"])
def test_any_option_follows_a_schedule_from_its_own_first_value(option):
    optimizer = optim.SGD([parameter()], lr=0.5, momentum=0.8, weight_decay=0.4, dampening=0.2)
    first = optimizer.param_groups[0][option]
    before = options_of(optimizer)[0]
    values = follow(optimizer, S.Scheduler(optimizer, S.Exponential(0.9), option=option), 20, option)
    np.testing.assert_allclose(values[:, 0], first * 0.9 ** np.arange(20), rtol=1e-14)
    after = options_of(optimizer)[0]
    assert {name for name in after if after[name] != before.get(name)} == {option, f"initial_{option}"}


def test_each_beta_follows_its_own_schedule_and_leaves_the_other():
    optimizer = optim.Adam([parameter()], betas=(0.5, 0.8))
    first = S.Scheduler(optimizer, S.Linear(1.0, 0.5, 10), option="beta1")
    second = S.Scheduler(optimizer, lambda step: 0.8 + step / 200, option="beta2")
    for step in range(20):
        expected = (0.5 * (1 - 0.05 * min(step, 10)), 0.8 + step / 200)
        assert optimizer.param_groups[0]["betas"] == pytest.approx(expected, rel=1e-14)
        optimizer.step()
        first.step()
        second.step()
    assert optimizer.param_groups[0]["initial_betas"] == (0.5, 0.8)


def test_a_clips_threshold_follows_a_schedule_and_the_clip_acts_on_it():
    weight = nn.Parameter(np.zeros(2))
    optimizer = optim.SGD([weight], lr=1.0, clip=clipping.by_global_norm(4.0))
    scheduler = S.Scheduler(optimizer, S.Exponential(0.5), option="max_norm")
    for step in range(4):
        before = weight.data.copy()
        weight.grad = tensor(np.array([300.0, 400.0]))
        optimizer.step()
        scheduler.step()
        assert np.linalg.norm(weight.data - before) == pytest.approx(4 * 0.5**step, rel=1e-6)


def test_a_scheduled_option_changes_the_update_it_belongs_to():
    """The kernel must see a changed beta, which lies within a tuple, as it sees a changed rate."""
    results = []
    for schedule in (None, lambda step: 0.5 + 0.1 * step):
        weight = nn.Parameter(np.ones(3))
        optimizer = optim.Adam([weight], lr=0.1, betas=(0.5, 0.9))
        scheduler = S.Scheduler(optimizer, schedule, option="beta1") if schedule else None
        m = v = 0.0
        value = np.ones(3)
        for step in range(4):
            grad = np.array([1.0, -2.0, 0.5]) * (-1) ** step * (step + 1)
            beta = schedule(step) if schedule else 0.5
            m, v = beta * m + (1 - beta) * grad, 0.9 * v + 0.1 * grad**2
            c1, c2 = 1 - beta ** (step + 1), 1 - 0.9 ** (step + 1)
            value = value - 0.1 * (m / c1) / (np.sqrt(v / c2) + 1e-8)
            weight.grad = tensor(grad)
            optimizer.step()
            if scheduler:
                scheduler.step()
        np.testing.assert_allclose(weight.data, value, rtol=1e-12)
        results.append(weight.data.copy())
    assert not np.allclose(*results)


def test_changing_a_beta_does_not_plan_the_chain_anew():
    optimizer = optim.Adam([parameter()])
    scheduler = S.Scheduler(optimizer, lambda step: 0.9 - step / 100, option="beta1")
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0].changed
    assert not optimizer.param_groups[0].restructured


def test_groups_keep_their_own_first_values_and_may_have_their_own_schedules():
    optimizer = sgd(0.1, 0.4)
    np.testing.assert_allclose(follow(optimizer, S.StepLR(optimizer, 2, 0.5), 4)[3], [0.05, 0.2])
    optimizer = sgd(0.1, 0.4)
    scheduler = S.Scheduler(optimizer, [S.Exponential(0.5), S.Constant(0.1, 2)])
    np.testing.assert_allclose(
        follow(optimizer, scheduler, 4), [[0.1, 0.04], [0.05, 0.04], [0.025, 0.4], [0.0125, 0.4]]
    )


def test_a_plain_function_gives_the_value_and_a_lambda_scheduler_the_factor():
    optimizer = sgd(0.1)
    S.Scheduler(optimizer, lambda step: 0.7 - step / 10)
    assert optimizer.param_groups[0]["lr"] == 0.7
    optimizer = sgd(0.1)
    S.LambdaLR(optimizer, lambda step: 0.7 - step / 10)
    assert optimizer.param_groups[0]["lr"] == 0.1 * 0.7


def test_a_callable_object_may_be_a_learning_rate_lambda():
    class Halving:
        def __call__(self, step):
            return 0.5**step

    optimizer = sgd(0.8)
    scheduler = S.LambdaLR(optimizer, Halving())
    assert scheduler.preview(3)["lr"].tolist() == [[0.8, 0.4, 0.2]]
    assert scheduler.state_dict()["schedules"]["lr"].startswith("Lambda(function=test_a_callable")


def test_exponential_by_rate_is_the_exponential_of_the_rate():
    optimizer = sgd(0.8)
    curve = S.ExponentialLR(optimizer, rate=0.05).preview(50)["lr"][0]
    np.testing.assert_allclose(curve, 0.8 * np.exp(-0.05 * np.arange(50)), rtol=1e-14)


# Param groups added later


@pytest.mark.parametrize(
    "make",
    [
        lambda o: S.StepLR(o, 3, 0.5),
        lambda o: S.CosineAnnealingWarmRestarts(o, 5, 2),
        lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=4), S.ExponentialLR(o, 0.9)], [4]),
        lambda o: S.ChainedScheduler([S.ConstantLR(o), S.ExponentialLR(o, 0.9)]),
        lambda o: S.OneCycleLR(o, 1.0, 40),
    ],
    ids=["step", "restarts", "sequential", "chained", "onecycle"],
)
def test_a_group_added_later_follows_the_scheduler(make):
    optimizer, whole = sgd(0.1), sgd(0.1, 0.3)
    scheduler, expected = make(optimizer), make(whole).preview(30)["lr"]
    follow(optimizer, scheduler, 7)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.3})
    assert optimizer.param_groups[1]["lr"] == 0.3
    ahead = scheduler.preview(23)["lr"][:, 1:]
    optimizer.step()
    scheduler.step()
    values = follow(optimizer, scheduler, 22)
    np.testing.assert_array_equal(values.T, expected[:, 8:])
    np.testing.assert_array_equal(values.T, ahead)
    assert len(scheduler.get_last_lr()) == 2


def test_a_list_of_schedules_says_that_it_has_none_for_a_group_added_later():
    optimizer = sgd(0.1, 0.2)
    scheduler = S.LambdaLR(optimizer, [lambda t: 1.0, lambda t: 0.5**t])
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    before = options_of(optimizer)
    optimizer.step()
    with pytest.raises(ValueError, match="2 schedules of lr for 3 param groups"):
        scheduler.step()
    assert options_of(optimizer) == before
    assert scheduler.last_epoch == 0
    scheduler.schedules["lr"].append(S.Exponential(0.1))
    scheduler.step()
    assert scheduler.get_last_lr() == [0.1, 0.1, pytest.approx(0.04)]


# Any epoch


def test_step_goes_to_any_epoch_and_on_from_there():
    optimizer = sgd(0.1)
    scheduler = S.CosineAnnealingWarmRestarts(optimizer, 1, 3)
    optimizer.step()
    scheduler.step(121)
    assert (scheduler.last_epoch, scheduler.T_cur, scheduler.T_i) == (121, 0, 243)
    assert scheduler.get_last_lr() == [0.1]
    scheduler.step(3.75)
    assert (scheduler.last_epoch, scheduler.T_cur, scheduler.T_i) == (3, 2.75, 3)
    scheduler.step()
    assert (scheduler.last_epoch, scheduler.T_cur, scheduler.T_i) == (4, 0, 9)


def test_warm_restarts_resumed_in_the_middle_of_a_cycle():
    optimizer = sgd(0.1)
    optimizer.param_groups[0]["initial_lr"] = 0.1
    scheduler = S.CosineAnnealingWarmRestarts(optimizer, 10, 2, last_epoch=50)
    assert (scheduler.T_cur, scheduler.T_i) == (21, 40)
    assert optimizer.param_groups[0]["lr"] == 0.1 * (1 + math.cos(math.pi * 21 / 40)) / 2


def test_resuming_needs_to_know_the_first_value():
    optimizer = sgd(0.1)
    with pytest.raises(ValueError, match=r"param group 0 does not know 'initial_lr'.*load the optimizer's state dict"):
        S.StepLR(optimizer, 3, last_epoch=7)
    assert "initial_lr" not in optimizer.param_groups[0]


def test_the_first_value_is_that_of_the_first_scheduler():
    optimizer = sgd(0.1)
    follow(optimizer, S.ExponentialLR(optimizer, 0.5), 3)
    later = S.ConstantLR(optimizer, 0.5)
    assert optimizer.param_groups[0]["initial_lr"] == 0.1
    assert later.get_last_lr() == [0.05]


def test_cyclic_and_one_cycle_say_their_own_first_rate():
    optimizer = sgd(0.1)
    S.CyclicLR(optimizer, 0.02, 0.5)
    assert optimizer.param_groups[0]["initial_lr"] == 0.02
    S.OneCycleLR(optimizer, 0.5, 100, div_factor=5)
    assert optimizer.param_groups[0]["initial_lr"] == 0.1
    assert optimizer.param_groups[0]["initial_momentum"] == 0.9


# Schedulers of schedulers


def test_an_option_that_some_turns_lack_stays_where_the_last_one_left_it():
    optimizer = sgd(0.1)
    parts = [S.LinearLR(optimizer, total_iters=5), S.OneCycleLR(optimizer, 0.5, 30), S.ExponentialLR(optimizer, 0.9)]
    curves = S.SequentialLR(optimizer, parts, [5, 15]).preview(25)
    cycle = S.OneCycle(0.95, 0.85, 0.95, 30)
    expected = [cycle(0)] * 5 + [cycle(t) for t in range(10)] + [cycle(9)] * 10
    assert curves["momentum"][0].tolist() == expected


def test_sequences_and_chains_nest():
    optimizer = sgd(0.1)
    chained = S.ChainedScheduler([S.ExponentialLR(optimizer, 0.9), S.StepLR(optimizer, 4, 0.5)])
    scheduler = S.SequentialLR(optimizer, [S.LinearLR(optimizer, 0.1, total_iters=5), chained], [5])
    values = follow(optimizer, scheduler, 30)[:, 0]
    t = np.arange(25)
    np.testing.assert_allclose(values[5:], 0.1 * 0.9**t * 0.5 ** (t // 4), rtol=1e-13)
    np.testing.assert_allclose(values[:5], 0.1 * (0.1 + 0.9 * np.arange(5) / 5), rtol=1e-13)


def test_a_sequence_resumes_at_any_last_epoch():
    def make(optimizer, last_epoch):
        parts = [S.LinearLR(optimizer, total_iters=5), S.ExponentialLR(optimizer, 0.9)]
        return S.SequentialLR(optimizer, parts, [5], last_epoch=last_epoch)

    expected = make(sgd(0.1), -1).preview(20)["lr"]
    for last_epoch in range(15):
        optimizer = sgd(0.1)
        optimizer.param_groups[0]["initial_lr"] = 0.1
        np.testing.assert_array_equal(
            make(optimizer, last_epoch).preview(5)["lr"], expected[:, last_epoch + 1 :][:, :5]
        )


def test_what_cannot_be_combined_says_why():
    optimizer, other = sgd(0.1), sgd(0.1)
    step, plateau = S.StepLR(optimizer, 3), S.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau \(number 1\) needs a metric"):
        S.SequentialLR(optimizer, [step, plateau], [3])
    with pytest.raises(ValueError, match=r"StepLR \(number 0\) is of another optimizer"):
        S.SequentialLR(other, [step, step], [3])
    with pytest.raises(ValueError, match="2 schedulers need 1 milestones, not 2"):
        S.SequentialLR(optimizer, [step, step], [3, 5])
    with pytest.raises(ValueError, match="milestones must be increasing"):
        S.SequentialLR(optimizer, [step, step, step], [5, 3])
    with pytest.raises(ValueError, match="the list of schedulers is empty"):
        S.ChainedScheduler([])
    with pytest.raises(TypeError, match="number 1 is no scheduler but StepDecay"):
        S.ChainedScheduler([step, S.StepDecay(3)])
    with pytest.raises(ValueError, match=r"Cyclic gives values of its own.*put it first"):
        S.ChainedScheduler([step, S.CyclicLR(optimizer, 0.1, 1.0, cycle_momentum=False)])
    optimizer.step()
    step.step()
    with pytest.raises(ValueError, match="has stepped already"):
        S.ChainedScheduler([step])


# Looking ahead


def everything(scheduler):
    optimizer = scheduler.optimizer
    own = {k: v for k, v in vars(scheduler).items() if k not in ("optimizer", "schedules", "_options", "_restarts")}
    state = json.dumps(optimizer.state_dict(), default=np.ndarray.tolist)
    return copy.deepcopy((own, options_of(optimizer), state, repr(scheduler)))


@pytest.mark.parametrize("steps_before", [0, 7])
@pytest.mark.parametrize(
    "make",
    [
        lambda o: S.CyclicLR(o, [0.1, 0.2], 0.5, 4, mode="triangular2"),
        lambda o: S.OneCycleLR(o, 0.5, 30),
        lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2),
        lambda o: S.MultiplicativeLR(o, lambda t: 0.9 if t % 2 else 0.8),
        lambda o: S.Scheduler(o, S.WarmupStableDecay(3, 5, 9), option="momentum"),
        lambda o: S.SequentialLR(o, [S.LinearLR(o), S.StepLR(o, 3)], [5]),
    ],
    ids=["cyclic", "onecycle", "restarts", "multiplicative", "momentum", "sequential"],
)
def test_a_preview_is_what_then_happens_and_changes_nothing(make, steps_before, tmp_path):
    optimizer = sgd(0.1, 0.3)
    scheduler = make(optimizer)
    for option in scheduler.schedules:
        follow(optimizer, scheduler, steps_before, option)
        before = everything(scheduler)
        preview = scheduler.preview(25, tmp_path / "curve.png")
        assert everything(scheduler) == before
        assert set(preview) == set(scheduler.schedules)
        assert preview[option].shape == (2, 25)
        np.testing.assert_array_equal(preview[option], follow(optimizer, scheduler, 25, option).T)


def test_the_curves_are_drawn_to_a_file_with_labels_and_without_pyplot(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: drawn.append((figure, path)))
    optimizer = sgd(0.1, 0.3)
    scheduler = S.OneCycleLR(optimizer, [0.5, 0.2], 40)
    curves = scheduler.preview(40, tmp_path / "curve.svg")
    ((figure, path),) = drawn
    assert path == tmp_path / "curve.svg"
    assert [ax.get_ylabel() for ax in figure.axes] == ["lr", "momentum"]
    assert figure.axes[-1].get_xlabel() == "scheduler step"
    for ax, curve in zip(figure.axes, curves.values(), strict=True):
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["param group 0", "param group 1"]
        for line, values in zip(ax.get_lines(), curve, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(40))
            np.testing.assert_array_equal(line.get_ydata(), values)
        first, second = ax.get_lines()
        assert first.get_color() != second.get_color()
        assert first.get_linestyle() != second.get_linestyle()


def test_a_png_is_written_by_its_suffix(tmp_path):
    S.StepLR(sgd(0.1), 3).preview(20, str(tmp_path / "lr.png"))
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")


def test_matplotlib_is_imported_only_to_draw():
    code = (
        "import sys; import numpy as np; from minigrad import nn, optim, schedulers as S;"
        "S.StepLR(optim.SGD([nn.Parameter(np.ones(1))]), 3).preview(5); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Warnings


def test_a_step_before_the_optimizers_first_one_warns_once():
    optimizer = sgd(0.1)
    scheduler = S.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=re.escape("StepLR.step() came before optimizer.step()")) as caught:
        scheduler.step()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


def test_a_step_of_the_optimizer_before_the_scheduler_was_made_does_not_count():
    optimizer = sgd(0.1)
    optimizer.step()
    scheduler = S.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match="came before optimizer"):
        scheduler.step()


def test_the_right_order_does_not_warn():
    for make in (lambda o: S.StepLR(o, 3), lambda o: S.SequentialLR(o, [S.StepLR(o, 3), S.LinearLR(o)], [4])):
        optimizer = sgd(0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            follow(optimizer, make(optimizer), 10)


def test_a_change_by_something_else_is_overwritten_with_a_warning():
    optimizer = sgd(0.1)
    first, second = S.ExponentialLR(optimizer, 0.9), S.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    first.step()
    with pytest.warns(UserWarning, match=r"StepLR: lr of param group 0 was set to 0.09.*ChainedScheduler"):
        second.step()
    assert optimizer.param_groups[0]["lr"] == 0.05


# Errors leave everything as it was


def test_a_value_that_the_option_does_not_allow_changes_nothing():
    optimizer = sgd(0.1, 0.2)
    scheduler = S.Scheduler(optimizer, [lambda t: 0.5, lambda t: 0.5 - t])
    optimizer.step()
    before = everything(scheduler)
    with pytest.raises(ValueError, match=r"lr must be a finite number of 0 or more, not -0\.5"):
        scheduler.step()
    assert everything(scheduler) == before
    with pytest.raises(ValueError, match="a step must be"):
        scheduler.step(-1)
    assert everything(scheduler) == before


def test_a_scheduler_that_cannot_be_made_changes_nothing():
    optimizer = optim.Adam([{"params": [parameter()]}, {"params": [parameter()]}])
    before = options_of(optimizer)
    for make in (
        lambda: S.Scheduler(optimizer, lambda t: 2.0, option="beta1"),
        lambda: S.Scheduler(optimizer, [lambda t: 0.1, lambda t: math.nan]),
        lambda: S.Scheduler(optimizer, [S.Constant()]),
        lambda: S.Scheduler(optimizer, S.Constant(), last_epoch=-2),
        lambda: S.OneCycleLR(optimizer, 0.1, 100, max_momentum=1.5),
        lambda: S.OneCycleLR(optimizer, [0.1], 100),
    ):
        with pytest.raises(ValueError):  # noqa: PT011  # each has its own text, which other tests look at
            make()
        assert options_of(optimizer) == before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: S.StepLR([1], 3), TypeError, "StepLR: needs an optimizer, not list"),
        (lambda o: S.OneCycleLR(None, 0.1, 3), TypeError, "OneCycleLR: needs an optimizer, not NoneType"),
        (lambda o: S.Scheduler(o, 0.5), TypeError, "must be a Schedule or a function of the step, not 0.5"),
        (lambda o: S.Scheduler(o, S.Constant), TypeError, "must be a Schedule or a function"),
        (
            lambda o: S.Scheduler(o, S.Constant(), "momentun"),
            ValueError,
            "unknown option 'momentun'; did you mean 'momentum'",
        ),
        (lambda o: S.Scheduler(o, S.Constant(), "nesterov"), ValueError, "numeric options of param group 0 of SGD"),
        (lambda o: S.Scheduler(o, S.Constant(), "beta1"), ValueError, "unknown option 'beta1'"),
        (lambda o: S.Scheduler(o, [S.Constant()] * 2), ValueError, "2 schedules of lr for 1 param groups"),
        (lambda o: S.StepLR(o, 3, last_epoch=-2), ValueError, "last_epoch must be a whole number of -1 or more"),
        (lambda o: S.CosineAnnealingLR(o, -10), ValueError, "T_max must be a whole number of 1 or more, not -10"),
        (lambda o: S.ExponentialLR(o, math.nan), ValueError, "gamma must be"),
        (lambda o: S.ExponentialLR(o), ValueError, "either gamma or rate"),
        (lambda o: S.ExponentialLR(o, 0.9, rate=0.1), ValueError, "either gamma or rate"),
        (lambda o: S.MultiStepLR(o, [5, 3]), ValueError, "milestones must be increasing"),
        (lambda o: S.LambdaLR(o, [abs, abs]), ValueError, "2 schedules of lr for 1 param groups"),
        (lambda o: S.OneCycleLR(o, 0.1), ValueError, "total_steps, or both epochs and steps_per_epoch"),
        (lambda o: S.OneCycleLR(o, 0.1, epochs=3), ValueError, "total_steps, or both"),
        (lambda o: S.OneCycleLR(o, 0.1, 10, div_factor=0), ValueError, "div_factor must be"),
        (lambda o: S.OneCycleLR(o, [0.1, 0.2], 10), ValueError, "max_lr has 2 numbers for 1 param groups"),
        (lambda o: S.OneCycleLR(o, 0.1, 10, anneal_strategy="lin"), ValueError, "did you mean 'linear'"),
        (lambda o: S.CyclicLR(o, 0.1, 0.2, mode="exprange"), ValueError, "did you mean 'exp_range'"),
        (lambda o: S.ReduceLROnPlateau(o, "mni"), ValueError, "unknown mode 'mni'; did you mean 'min'"),
        (lambda o: S.ReduceLROnPlateau(o, threshold_mode="relative"), ValueError, "unknown threshold_mode"),
        (lambda o: S.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor must be below 1"),
        (lambda o: S.ReduceLROnPlateau(o, patience=-1), ValueError, "patience must be"),
        (lambda o: S.ReduceLROnPlateau(o, min_lr=[0.1, 0.2]), ValueError, "min_lr has 2 numbers for 1 param groups"),
        (lambda o: S.ReduceLROnPlateau(o).step("low"), ValueError, "could not convert"),
        (lambda o: S.ReduceLROnPlateau(o).step(None), TypeError, "float"),
        (lambda o: S.StepLR(o, 3).preview(0), ValueError, "steps must be a whole number of 1 or more"),
        (lambda o: S.StepLR(o, 3).get_last_values("momentum"), ValueError, "unknown scheduled option 'momentum'"),
        (lambda o: S.Scheduler(o, S.Constant(), "momentum").get_last_lr(), ValueError, "unknown scheduled option 'lr'"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(make, error, message):
    with pytest.raises(error, match=message):
        make(sgd(0.1))


def test_cycling_the_momentum_of_an_optimizer_that_has_none_is_refused():
    optimizer = optim.Adagrad([parameter()])
    for make in (S.CyclicLR, S.OneCycleLR):
        with pytest.raises(ValueError, match="Adagrad has neither momentum nor betas; give cycle_momentum=False"):
            make(optimizer, 0.1, 20)
    S.OneCycleLR(optimizer, 0.1, 20, cycle_momentum=False)


# Reduce on plateau


def test_a_metric_of_nan_counts_as_no_better():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    scheduler.step(1.0)
    for _ in range(2):
        scheduler.step(math.nan)
    assert scheduler.best == 1.0
    assert scheduler.get_last_lr() == [0.05]


def test_a_metric_may_be_a_tensor_and_a_group_added_later_is_reduced_too():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    scheduler.step(tensor(1.0))
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    scheduler.step(tensor(np.array([2.0])).sum())
    assert scheduler.get_last_lr() == [0.05, 0.2]
    assert scheduler.last_epoch == 2


def test_a_list_of_least_rates_says_that_it_has_none_for_a_group_added_later():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.01])
    scheduler.step(1.0)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match="min_lr has 1 numbers for 2 param groups"):
        scheduler.step(2.0)
    assert scheduler.state_dict() == before
    scheduler.min_lr.append(0.3)
    scheduler.step(2.0)
    assert scheduler.get_last_lr() == [pytest.approx(0.01), 0.3]


def test_the_preview_of_a_plateau_is_what_happens_under_those_metrics(tmp_path):
    optimizer = sgd(0.1, 0.3)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=2, factor=0.5, cooldown=1)
    scheduler.step(1.0)
    metrics = [1.0, 0.9, 0.95, math.nan, 0.9, 0.9, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6]
    before = json.dumps(scheduler.state_dict())
    preview = scheduler.preview(metrics, tmp_path / "plateau.png")["lr"]
    assert json.dumps(scheduler.state_dict()) == before
    rows = [scheduler.get_last_lr()]
    for metric in metrics:
        scheduler.step(metric)
        rows.append(scheduler.get_last_lr())
    np.testing.assert_array_equal(preview.T, rows)
    assert len(set(preview[0])) > 2
    assert (tmp_path / "plateau.png").stat().st_size > 1000


# How it shows itself


def test_a_scheduler_shows_its_schedules_and_where_it_stands():
    optimizer = sgd(0.1)
    scheduler = S.StepLR(optimizer, 3)
    follow(optimizer, scheduler, 2)
    assert repr(scheduler) == "StepLR(lr=StepDecay(step_size=3, gamma=0.1), epoch=2)"
    assert repr(S.ReduceLROnPlateau(optimizer, min_lr=[0.1])).startswith("ReduceLROnPlateau(mode='min', factor=0.1, ")
