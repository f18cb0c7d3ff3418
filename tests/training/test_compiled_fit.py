"""`fit` with compiled steps does what it does with steps made by Python, to the last bit of every file."""

import itertools

import pytest
from training_cases import OPTIMIZERS, SCHEDULERS, Case, same

from minigrad import random, study
from minigrad.compiled.epoch import Driver


@pytest.fixture
def driven(monkeypatch):
    """The numbers of steps that were taken in one call."""
    counts = []
    run = Driver.run

    def counted(self, *args):
        outcome = run(self, *args)
        counts.append(outcome.done)
        return outcome

    monkeypatch.setattr(Driver, "run", counted)
    return counts


def state_of(case):
    run = case.run
    return {**run.state_dict(), "history": run.progress.history, "stopping": run.stopping, "random": random.get_state()}


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def check_same(eager, compiled):
    wrong = [name for name, value in state_of(eager).items() if not same(value, state_of(compiled)[name])]
    assert not wrong
    a, b = files_of(eager.folder), files_of(compiled.folder)
    assert a.keys() == b.keys()
    assert not [name for name in a if a[name] != b[name]]


def both(tmp_path, epochs=3, recorder=None, **settings):
    """The same case made eagerly and compiled, both done."""
    cases = []
    for name, compiled in (("eager", False), ("compiled", True)):
        case = Case(tmp_path / name, compiled=compiled, **settings)
        callbacks = []
        if recorder is not None:
            callbacks = [study.Recorder(case.model, case.optimizer, path=case.folder / "record.jsonl", **recorder)]
        case.go(epochs, callbacks=callbacks)
        cases.append(case)
    check_same(*cases)
    assert cases[1].run.eager == ""
    return cases


# Each optimizer with a schedule, in turn by epoch and by step.
PAIRS = list(itertools.zip_longest(OPTIMIZERS, SCHEDULERS, fillvalue="SGD"))


@pytest.mark.parametrize("every", ["epoch", "step"])
@pytest.mark.parametrize(("optimizer", "scheduler"), [(o, s) for o, s in PAIRS if s in SCHEDULERS])
def test_optimizers_and_schedules(tmp_path, driven, optimizer, scheduler, every):
    both(tmp_path, optimizer=optimizer, scheduler=scheduler, every=every, epochs=4)
    assert sum(driven) > 4  # of 20 steps, some of which are traced or end an epoch


@pytest.mark.parametrize("optimizer", ["SGD plain", "AdamW", "LAMB", "Lookahead"])
@pytest.mark.parametrize("recorded", [{"every": 4}, {"every": 3, "max_records": 2}, {"every": 7, "probe": False}])
def test_a_recorder(tmp_path, driven, optimizer, recorded):
    both(tmp_path, optimizer=optimizer, recorder=recorded, epochs=6)
    assert driven


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_checkpoints_between_epochs(tmp_path, every):
    both(tmp_path, optimizer="Adam", epochs=4, every="step", scheduler="OneCycleLR", keep=100, save_every=every)
