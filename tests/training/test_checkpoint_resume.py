"""Runs that were stopped at any step and resumed end with the same bits as runs that were not."""

import pytest
from training_cases import OPTIMIZERS, SCHEDULERS, Case, same

from minigrad import random as minigrad_random
from minigrad import training

EPOCHS = 4  # of 5 batches each


def stopped_and_resumed(make, folder, stops):
    """The case at its end, after stops at these steps, each in a process that knows nothing but the files."""
    resume = None
    for stop in [*stops, None]:
        case = make(folder)
        if resume is not None:
            minigrad_random.manual_seed(99)  # a new process has drawn something else
        case.go(EPOCHS, stop, resume)
        resume = case.last()
    return case


def check(make, tmp_path, stops):
    whole = make(tmp_path / "whole")
    whole.go(EPOCHS)
    case = stopped_and_resumed(make, tmp_path / "parts", stops)
    assert case.files() == whole.files()
    assert same(case.run.state_dict(), whole.run.state_dict())
    assert whole.run.progress.epoch == EPOCHS


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_resumes_in_the_middle_and_at_the_end_of_an_epoch(tmp_path, optimizer):
    check(lambda folder: Case(folder, optimizer), tmp_path, [3, 10, 13])


@pytest.mark.parametrize("every", ["epoch", "step"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_resumes(tmp_path, scheduler, every):
    check(lambda folder: Case(folder, "SGD", scheduler, every), tmp_path, [2, 5, 16])


@pytest.mark.parametrize("stop", range(1, 20))
def test_a_run_resumes_from_any_step(tmp_path, stop):
    check(lambda folder: Case(folder, "Lookahead pullback", "StepLR", "step"), tmp_path, [stop])


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 6])
def test_a_run_with_accumulated_gradients_resumes_between_its_steps(tmp_path, stop):
    check(lambda folder: Case(folder, accumulate=2), tmp_path, [stop])


def test_what_was_logged_after_the_last_checkpoint_is_written_again_and_not_twice(tmp_path):
    whole = Case(tmp_path / "whole")
    whole.go(EPOCHS)
    case = Case(tmp_path / "parts")
    case.go(EPOCHS, stop_after=7)
    for name in ("steps.jsonl", "metrics.csv"):
        with (case.folder / name).open("a") as file:
            file.write("what a killed process wrote and no checkpoint k")
    resumed = Case(tmp_path / "parts")
    resumed.go(EPOCHS, resume=case.last())
    assert resumed.files() == whole.files()


def test_a_log_that_is_shorter_than_the_checkpoint_says_is_an_error_that_names_it(tmp_path):
    case = Case(tmp_path / "run")
    case.go(EPOCHS, stop_after=7)
    (case.folder / "steps.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"steps.jsonl: holds 0 bytes, but held \d+ when"):
        Case(tmp_path / "run").go(EPOCHS, resume=case.last())


def test_early_stopping_stops_a_resumed_run_where_it_had_stopped(tmp_path):
    case = Case(tmp_path / "run", "SGD plain", "none")
    for group in case.optimizer.param_groups:
        group["lr"] = 0.0  # nothing improves
    case.go(50, callbacks=[training.EarlyStopping(3)])
    stopped_at = case.run.progress.epoch
    assert stopped_at < 50
    again = Case(tmp_path / "run", "SGD plain", "none")
    again.go(50, resume=case.last(), callbacks=[training.EarlyStopping(3)])
    assert again.run.progress.epoch == stopped_at
    assert "has not improved for 3 epochs" in again.run.stopping


@pytest.mark.parametrize("optimizer", ["Lookahead pullback", "LAMB"])
def test_loading_and_saving_again_gives_the_same_bytes(tmp_path, optimizer):
    case = Case(tmp_path / "run", optimizer, "two of them")
    case.go(2)
    again = Case(tmp_path / "run", optimizer, "two of them")
    before = case.last().read_bytes()
    again.go(2, resume=case.last())
    assert again.checkpoints.save(again.run).read_bytes() == before


def test_a_run_killed_before_it_named_its_best_checkpoint_names_it_when_it_goes_on(tmp_path):
    case = Case(tmp_path / "run")
    case.go(1)  # the first epoch is the best so far
    best = case.folder / "checkpoints" / "best.safetensors"
    before = best.read_bytes()
    best.unlink()
    Case(tmp_path / "run").go(1, resume=case.last())
    assert best.read_bytes() == before
