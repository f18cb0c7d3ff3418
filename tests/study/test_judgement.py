"""Findings are right: on runs with known results they miss no bad one, and their advice never makes a run worse."""

import pytest
from judged_runs import DECAY, DEEP, FAULTY, LONG, OPTIMIZERS, RATES, Judged, follow, train

from minigrad import study

pytestmark = pytest.mark.slow  # it trains a hundred runs

# Twice the standard error of an accuracy near 0.9 on 359 rows.
NOISE = 0.03


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_bad_rate_is_found_no_good_one_is_an_error_and_advice_never_harms(optimizer):
    runs = {lr: Judged(optimizer, lr) for lr in (1e-7, *RATES)}
    accuracy, found = {}, {}
    for lr, run in runs.items():
        accuracy[lr], recording = train(run)
        found[lr] = study.findings(recording)
    ranked = sorted(accuracy.values(), reverse=True)
    missed = [lr for lr in runs if accuracy[lr] < ranked[0] / 2 and not found[lr]]
    wrong = [lr for lr in runs if accuracy[lr] >= ranked[2] and any(each.severity == "error" for each in found[lr])]
    advised = {lr: follow(run, found[lr]) for lr, run in runs.items()}
    harmed = [
        f"{run} {accuracy[lr]:.3f}, after {next}: {after:.3f}"
        for lr, run in runs.items()
        if (next := advised[lr]) is not None and (after := train(next)[0]) < accuracy[lr] - NOISE
    ]
    unhelped = [lr for lr in runs if accuracy[lr] < ranked[0] / 2 and advised[lr] is None]
    assert (missed, wrong, harmed, unhelped) == ([], [], [], [])


@pytest.mark.parametrize(
    ("run", "kinds"),
    [
        *zip(
            DEEP,
            [
                {"vanishing"}, {"vanishing"}, {"dead units"}, {"vanishing"}, {"plateau"}, {"dead units"},
                {"initial scale", "dead units"}, {"vanishing"},
            ],
            strict=True,
        ),
        *zip(
            FAULTY,
            [
                {"initial scale"}, {"initial scale"}, {"initial scale"}, {"initial scale", "still falling"},
                {"dead units"}, {"dead units"}, set(),
                {"input scale", "updates too large", "jumped", "dead units", "exploding"}, {"plateau"},
            ],
            strict=True,
        ),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)  # fmt: skip
def test_a_fault_is_found_by_its_name(run, kinds):
    assert {each.kind for each in study.findings(train(run)[1])} == kinds


@pytest.mark.parametrize("run", DECAY, ids=str)
def test_decay_is_a_finding_only_where_less_of_it_is_better(run):
    accuracy, recording = train(run)
    kinds = {each.kind for each in study.findings(recording)}
    assert ("decay" in kinds) == (accuracy < 0.75 and run.options["weight_decay"] > 0)
    if "decay" in kinds:
        assert train(follow(run, study.findings(recording)))[0] > accuracy + 0.1


@pytest.mark.parametrize("run", LONG, ids=str)
def test_long_runs_have_a_finding_only_if_the_trust_ratio_feeds_on_the_weights(run):
    findings = study.findings(train(run)[1])
    assert [each.kind for each in findings[:1]] == (["trust ratio"] if run.optimizer == "LAMB" else [])
