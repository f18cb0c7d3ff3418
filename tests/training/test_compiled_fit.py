"""`fit` with compiled steps does what it does with steps made by Python, to the last bit of every file."""

import copy
import functools
import itertools
import os
import pickle
import signal

import numpy as np
import pytest
from kill_harness import CASES, COMMON
from training_cases import OPTIMIZERS, SCHEDULERS, Case, blobs, same

from minigrad import cli, clipping, data, manual_seed, nn, optim, random, schedulers, study, training
from minigrad.compiled.epoch import Driver
from minigrad.kernels import layout
from minigrad.kernels.threads import get_num_threads, set_num_threads
from minigrad.nn.functional import cross_entropy
from minigrad.training import _compiled

pytestmark = pytest.mark.sample(1)


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


@pytest.mark.parametrize("accumulate", [2, 3, 4, 7])
def test_accumulated_gradients(tmp_path, driven, accumulate):
    both(tmp_path, optimizer="AdamW", accumulate=accumulate, every="step", scheduler="OneCycleLR", epochs=5)
    assert driven or accumulate > 2  # of 4 full batches


@pytest.mark.parametrize("stops", [[3, 10, 13], [1], [4, 5, 6, 7], [17]])
@pytest.mark.parametrize("optimizer", ["Adam", "SGD plain", "Lookahead pullback"])
def test_runs_stop_and_resume_in_either_way(tmp_path, optimizer, stops):
    whole = Case(tmp_path / "whole", optimizer, compiled=False)
    whole.go(4)
    for first in (False, True):
        folder, resume = tmp_path / f"parts {first}", None
        for compiled, stop in zip(itertools.cycle([first, not first]), [*stops, None], strict=False):
            case = Case(folder, optimizer, compiled=compiled)
            if resume is not None:
                manual_seed(99)  # a new process has drawn something else
            case.go(4, stop, resume)
            resume = case.last()
        assert case.files() == whole.files()
        assert same(case.run.state_dict(), whole.run.state_dict())


# --- other models, data and losses -----------------------------------------------------------------------------------


def fitted(compiled, **settings):
    """A run of settings that are made for each: model, loader, optimizer, and the rest of the arguments of fit."""
    manual_seed(5)
    made = {name: make() for name, make in settings.items()}
    model, loader = made.pop("model", None) or nn.MLP([2, 8, 3]), made.pop("loader", None) or batches()()
    optimizer = made.pop("optimizer", None)
    optimizer = optim.Adam(model.parameters(), 0.01) if optimizer is None else optimizer(model)
    if "scheduler" in made:
        made["scheduler"] = made["scheduler"](optimizer)
    runs, error = [], None
    callbacks = [Keep(runs), *made.pop("callbacks", ())]
    try:
        training.fit(model, optimizer, loader, made.pop("epochs", 5), **made, callbacks=callbacks, compiled=compiled)
    except Exception as raised:
        error = raised
    (run,) = runs
    return {"random": random.get_state(), "run": run.state_dict(), "skipped": optimizer.skipped}, run, error


class Keep(training.Callback):
    """Keeps the run, also if it fails."""

    def __init__(self, runs):
        self.runs = runs

    def begin(self, run):
        self.runs.append(run)


def batches(rows=45, size=10, seed=1, **options):
    return lambda: data.DataLoader(blobs()[0].subset(range(rows)), size, shuffle=True, seed=seed, **options)


def compared(**settings):
    """The run with compiled steps, which does what the run without does."""
    (one, eager, _), (other, compiled, error) = (fitted(way, **settings) for way in (False, True))
    if error is not None:
        raise error
    assert not [name for name in one if not same(one[name], other[name])]
    assert eager.eager == "compiled=False"
    return compiled


@pytest.mark.parametrize(
    "loader",
    {
        "drop last": batches(drop_last=True),
        "no short batch": batches(rows=40),
        "one batch": batches(size=45),
        "larger than the data": batches(size=100),
        "single rows": batches(rows=7, size=1),
        "a short batch of one": batches(rows=41),
        "in order": lambda: data.DataLoader(blobs()[0], 10),
        "double": lambda: data.DataLoader(data.Dataset(blobs()[0].features.astype(np.float64), blobs()[0].labels), 9),
    }.items(),
    ids=lambda pair: pair[0],
)
def test_loaders(driven, loader):
    model = (lambda: nn.MLP([2, 8, 3]).double()) if loader[0] == "double" else (lambda: nn.MLP([2, 8, 3]))
    assert compared(model=model, loader=loader[1], epochs=lambda: 8).eager == ""
    # One batch in an epoch leaves nothing to be done in one call.
    assert bool(driven) == (loader[0] not in ("one batch", "larger than the data"))


class Squares(data.Dataset):
    """Rows that are computed when they are asked for."""

    def __init__(self):
        pass

    def __len__(self):
        return 20

    def __getitem__(self, row):
        return [float(row), 1.0], row % 3


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (lambda: data.DataLoader(Squares(), 5, shuffle=True, seed=1), "not a Dataset of arrays"),
        (lambda: data.DataLoader([([0.5, 1.0], 1)] * 8, 4), "not a Dataset of arrays"),
        (lambda: type("Own", (data.DataLoader,), {})(blobs()[0], 5), "in a DataLoader"),
    ],
)
def test_what_is_not_stored_is_not_compiled_and_the_run_says_so(loader, reason):
    assert reason in compared(loader=loader).eager


def test_an_epoch_begins_anew_if_somebody_has_looked_at_a_batch():
    def peeked():
        loader = batches()()
        next(iter(loader))
        return loader

    compared(loader=peeked)


def test_a_loader_that_was_used_by_fit_begins_its_next_epoch_as_ever():
    loaders = []
    for compiled in (False, True):
        loader = batches()()
        model = nn.MLP([2, 8, 3])
        for _ in range(2):
            training.fit(model, optim.SGD(model.parameters(), 0.1), loader, 2, compiled=compiled)
        loaders.append([features.data for features, _ in loader])
    assert same(*loaders)


LOSSES = {
    "a sum": lambda: functools.partial(cross_entropy, reduction="sum"),
    "class weights": lambda: functools.partial(cross_entropy, weight=np.array([1.0, 0.5, 1.5], np.float32)),
    "ignored labels": lambda: functools.partial(cross_entropy, ignore_index=1),
    "a module": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "a function": lambda: lambda output, labels: cross_entropy(output, labels) + (output**2).mean() * 0.01,
    "a branch": lambda: lambda output, labels: loss if (loss := cross_entropy(output, labels)) < 1 else loss * 0.5,
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(driven, loss, accumulate):
    run = compared(loss=LOSSES[loss], accumulate=lambda: accumulate, epochs=lambda: 6)
    if accumulate == 2 and loss in ("class weights", "ignored labels"):
        assert "does not count all rows alike" in run.eager
    elif loss != "a branch":
        assert run.eager == ""
        assert driven


class Noisy(nn.Module):
    """Draws numbers of NumPy's, which no compiled step can know."""

    def __init__(self):
        super().__init__()
        self.inner, self.rng = nn.Linear(2, 3), np.random.default_rng(0)

    def forward(self, x):
        return self.inner(x + float(self.rng.normal()))


class Counting(nn.Module):
    """Counts its calls in a setting, by which its forward pass can depend on them."""

    def __init__(self):
        super().__init__()
        self.inner, self.calls = nn.Linear(2, 3), 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) * (1 + 1 / self.calls)


class Reading(nn.Module):
    """Needs a number from a tensor."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 3)

    def forward(self, x):
        return self.inner(x) * (1 + float(x.mean().item()))


class Strange(nn.Module):
    """Uses an array in a way that a traced one does not know."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 3)

    def forward(self, x):
        assert x.data.ctypes.data
        return self.inner(x)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Noisy, "depends on something"),
        (Counting, "changes from step to step"),
        (Reading, "test_compiled_fit.py"),
        (Strange, "ctypes"),
    ],
)
def test_a_model_that_cannot_be_compiled_is_trained_as_ever(driven, model, reason):
    run = compared(model=model)
    assert reason in run.eager
    assert not driven


@pytest.mark.parametrize(
    "model",
    [
        lambda: nn.MLP([2, 8, 3], dropout=0.3, norm="batch"),
        lambda: nn.MLP([2, 8, 3], dropout=0.3, norm="layer"),
        lambda: nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 3)),
        lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8, momentum=None), nn.Tanh(), nn.Linear(8, 3)),
    ],
)
def test_models(driven, model):
    assert compared(model=model, evaluate=lambda: blobs()[1]).eager == ""
    assert driven


def test_a_frozen_layer_and_one_that_is_thawed_between_epochs(driven):
    def frozen():
        model = nn.MLP([2, 8, 3])
        model[0].weight.requires_grad = False
        return model

    def thaw(run):
        run.model[0].weight.requires_grad = run.progress.epoch >= 3

    compared(model=frozen, callbacks=lambda: [training.OnEpoch(thaw)], epochs=lambda: 6)
    assert driven


# --- metrics and callbacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_metrics_of_the_user_see_every_batch_in_order(driven, count):
    seen = []

    def hits(output, labels):
        seen.append((type(output), output.copy(), labels.copy()))
        return (output.argmax(1) == labels).sum()

    metrics = {"accuracy": training.correct, "hits": hits, "rows": lambda output, labels: len(labels)}
    compared(metrics=lambda: metrics if count == 2 else {"hits": hits}, accumulate=lambda: count)
    assert driven
    half = len(seen) // 2
    assert same(seen[:half], seen[half:])


class EveryStep(training.Callback):
    """Sees every step, like a callback that was written before there were stretches."""

    def __init__(self):
        self.seen = []

    def after_step(self, run):
        grads = [p.grad.data.copy() for p in run.model.parameters()]
        self.seen.append((run.progress.step, run.progress.batch, run.progress.loss, grads))


class Deeper(training.Checkpoints):
    """Sees every step too, though its base class does not have to."""

    def __init__(self):
        self.seen, self.every = [], None

    def begin(self, run):
        pass

    after_epoch = end = begin

    def after_step(self, run):
        self.seen.append(run.progress.step)


@pytest.mark.parametrize("kind", [EveryStep, Deeper])
def test_a_callback_of_the_user_sees_every_step(driven, kind):
    made = []

    def callbacks():
        made.append(kind())
        return made[-1:]

    assert compared(callbacks=callbacks).eager == ""
    assert not driven
    assert len(made[0].seen) == 25
    assert same(made[0].seen, made[1].seen)


class Changes(training.Callback):
    """Changes options, weights and state between steps."""

    def after_step(self, run):
        optimizer, step = run.optimizer, run.progress.step
        if step % 4 == 0:
            optimizer.param_groups[0]["lr"] *= 0.9
        if step == 6:
            optimizer.param_groups[0]["weight_decay"] = 0.1
        if step == 9:
            next(iter(run.model.parameters())).data[0] += 1
        if step == 11:
            optimizer.reset_state()
        if step == 15:
            optimizer.param_groups[0]["weight_decay"] = 0.0
            run.model[0].weight.data = run.model[0].weight.data * 2


def test_a_callback_that_changes_options_weights_and_state():
    compared(callbacks=lambda: [Changes()], epochs=lambda: 6)


def test_a_schedule_that_switches_an_option_on_and_off_within_an_epoch(driven):
    values = [0.0, 0.1, 0.2, 0.0, 0.0, 0.3, 0.1, 0.0] * 12

    def decay(optimizer):
        schedule = schedulers.Scheduler(optimizer, lambda step: values[int(step)], option="weight_decay")
        return [schedule, schedulers.ExponentialLR(optimizer, 0.99)]

    compared(scheduler=lambda: decay, scheduler_every=lambda: "step", loader=batches(size=3))
    assert driven


def test_a_hook_that_looks_at_steps_is_called_and_the_run_says_so(driven):
    calls = []

    def hooked(model):
        optimizer = optim.SGD(model.parameters(), 0.1)
        optimizer.register_step_post_hook(lambda optimizer: calls.append(optimizer.steps))
        return optimizer

    assert "a hook is registered on SGD" in compared(optimizer=lambda: hooked).eager
    assert calls == [*range(1, 26)] * 2
    assert not driven


# --- ends ------------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_both_at_the_same_step_in_the_same_state(driven):
    found = [
        fitted(
            way, optimizer=lambda: lambda model: optim.SGD(model.parameters(), 0.3, momentum=0.99),
            model=lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3)),
            loss=lambda: lambda output, labels: (output**4).mean() + cross_entropy(output, labels),
            epochs=lambda: 50, loader=batches(size=2),
        )
        for way in (False, True)
    ]  # fmt: skip
    (one, _, first), (other, _, second) = found
    assert isinstance(first, training.NonFiniteLossError)
    assert str(first) == str(second)
    assert first.step == second.step
    assert sum(driven) > 1
    assert not [name for name in one if not same(one[name], other[name])]


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("policy", ["skip", "raise", "propagate"])
def test_clips_that_meet_gradients_that_are_not_finite(driven, policy):
    class Size(nn.Module):
        def forward(self, x):
            return (x * x).sqrt()

    def model():
        return nn.Sequential(nn.Linear(2, 8, bias=False), Size(), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3))

    def poisoned():
        train = blobs()[0]
        features = np.tile(train.features, (3, 1))
        features[77] = 0  # where the size of a hidden unit is 0, it has no gradient
        return data.DataLoader(data.Dataset(features, np.tile(train.labels, 3)), 5, shuffle=True, seed=2)

    def clipped(model):
        return optim.SGD(model.parameters(), 1e-3, clip=clipping.by_global_norm(1.0, nonfinite=policy))

    found = [fitted(way, model=model, loader=poisoned, optimizer=lambda: clipped) for way in (False, True)]
    (one, _, first), (other, _, second) = found
    assert str(first) == str(second)
    assert type(first) is type(second) is {"raise": FloatingPointError, "skip": type(None)}.get(policy, type(first))
    assert (one["skipped"] > 0) == (policy == "skip")
    assert driven
    assert not [name for name in one if not same(one[name], other[name])]


def test_a_run_that_diverges_and_one_that_stops_early():
    def slow(model):
        return optim.SGD(model.parameters(), 1e-9)

    run = compared(optimizer=lambda: slow, callbacks=lambda: [training.EarlyStopping(2)], epochs=lambda: 30)
    assert "has not improved" in run.stopping


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_ctrl_c_in_a_stretch_ends_the_run_after_it(tmp_path, monkeypatch):
    end = Driver.end

    def interrupted(self, *args):
        os.kill(os.getpid(), signal.SIGINT)
        return end(self, *args)

    monkeypatch.setattr(Driver, "end", interrupted)
    case = Case(tmp_path / "run")
    runs = []
    with pytest.raises(KeyboardInterrupt):
        case.go(4, callbacks=[Keep(runs)])
    assert runs[0].progress.step == case.optimizer.steps == len((case.folder / "steps.jsonl").read_text().splitlines())
    assert runs[0].progress.step > 2
    assert runs[0].progress.step % 5 == runs[0].progress.batch


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Nothing is flushed, and no picture drawn."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(study.plots, "metrics", lambda history, path: path.write_bytes(b""))


def trained(folder, *words):
    assert cli.main(["train", *COMMON.split(), "--output", str(folder), "--name", "run", "--quiet", *words]) == 0
    return files_of(folder / "run-1")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("case", CASES)
def test_the_command_writes_the_same_files(tmp_path, driven, case):
    eager = trained(tmp_path / "eager", *CASES[case].split(), "--eager")
    assert not driven
    compiled = trained(tmp_path / "compiled", *CASES[case].split())
    # Callbacks that look at every step, or at every second and third, leave nothing to be done in one call.
    assert driven or case in ("SGD", "Adadelta")
    assert b'"eager": true' in eager.pop("config.json")
    assert b'"eager": false' in compiled.pop("config.json")
    assert eager.keys() == compiled.keys()
    assert not [name for name in eager if eager[name] != compiled[name]]


@pytest.mark.usefixtures("quick")
def test_explain_trains_again_compiled_up_to_the_step_that_it_watches(tmp_path, driven, capsys):
    trained(tmp_path, *CASES["AdamW"].split())
    run, found = str(tmp_path / "run-1"), []
    for words in ([], ["--eager"]):
        driven.clear()
        assert cli.main(["explain", run, "--param", "0.weight[2,1]", "--step", "13", *words]) == 0
        found.append((capsys.readouterr().out, bool(driven)))
    assert found[0][0] == found[1][0]
    assert "is the logged one to the last bit" in found[0][0]
    assert [each for _, each in found] == [True, False]


@pytest.mark.usefixtures("quick")
def test_the_command_says_why_steps_were_not_compiled(capsys, monkeypatch):
    words = ["train", *COMMON.split(), "--no-output"]
    line = "steps were not compiled: the moon is full"
    assert cli.main(words) == 0
    assert "not compiled" not in capsys.readouterr().out
    monkeypatch.setattr(_compiled, "watched", lambda run: "the moon is full")
    assert cli.main(words) == 0
    assert capsys.readouterr().out.count(line) == 1
    assert cli.main([*words, "--eager"]) == 0
    assert "not compiled" not in capsys.readouterr().out


# --- what callbacks, data and threads can do -------------------------------------------------------------------------


def reseed(run):
    manual_seed(run.progress.epoch)


def go_back(run):
    if run.progress.epoch == 2:
        run.kept = run.model.state_dict(), run.optimizer.state_dict()
    if run.progress.epoch == 4:
        run.model.load_state_dict(run.kept[0])
        run.optimizer.load_state_dict(run.kept[1])


def add_a_layer(run):
    if run.progress.epoch == 3:
        run.optimizer.add_param_group({"params": run.model[2].parameters(), "lr": 0.03})


def copy_everything(run):
    run.copies = copy.deepcopy((run.model, run.optimizer)), pickle.dumps((run.model, run.optimizer))


def other_dropout(run):
    run.model[2].p = 0.1 * run.progress.epoch


def evaluate(run):
    run.model.eval()
    run.model(run.loader.dataset.features)


@pytest.mark.parametrize("act", [reseed, go_back, add_a_layer, copy_everything, other_dropout, evaluate])
def test_what_callbacks_do_between_epochs(driven, act):
    model = functools.partial(nn.MLP, [2, 8, 3], dropout=0.3)
    if act is add_a_layer:
        model = functools.partial(nn.MLP, [2, 8, 3])
    part = (lambda m: optim.Adam(m[0].parameters(), 0.01)) if act is add_a_layer else None
    settings = {"optimizer": lambda: part} if part else {}
    run = compared(model=model, callbacks=lambda: [training.OnEpoch(act)], epochs=lambda: 7, **settings)
    # With another probability in every epoch, a program for its last, short batch would be used once.
    assert run.eager == "" or act is other_dropout
    assert driven


class KeepsGradients(training.Callback):
    """Keeps the gradients of every step, which must not change later."""

    def __init__(self):
        self.kept, self.copies = [], []

    def after_step(self, run):
        self.kept += [p.grad for p in run.model.parameters()]
        self.copies += [p.grad.data.copy() for p in run.model.parameters()]


def test_gradients_that_a_callback_keeps_do_not_change():
    made = []

    def callbacks():
        made.append(KeepsGradients())
        return made[-1:]

    compared(callbacks=callbacks)
    for each in made:
        assert same([g.data for g in each.kept], each.copies)
    assert same(made[0].copies, made[1].copies)


@pytest.mark.parametrize("kind", ["Fortran", "every second row", "memory-mapped", "read-only", "int32 labels", "3-d"])
def test_how_the_data_lies_in_memory(driven, tmp_path, kind):
    def loader():
        train = blobs()[0]
        features, labels = np.tile(train.features, (3, 1)), np.tile(train.labels, 3)
        if kind == "Fortran":
            features = np.asfortranarray(features)
        elif kind == "every second row":
            features, labels = features[::2], labels[::2]
        elif kind == "memory-mapped":
            np.save(tmp_path / "x.npy", features)
            features = np.load(tmp_path / "x.npy", mmap_mode="r")
        elif kind == "read-only":
            features.flags.writeable = labels.flags.writeable = False
        elif kind == "int32 labels":
            labels = labels.astype(np.int32)
        else:
            features = features.reshape(-1, 2, 1) * np.ones(3, np.float32)
        return data.DataLoader(data.Dataset(features, labels), 10, shuffle=True, seed=0)

    model = (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3))) if kind == "3-d" else (lambda: nn.MLP([2, 8, 3]))
    assert compared(model=model, loader=loader).eager == ""
    assert bool(driven) == (kind not in ("Fortran", "every second row"))


@pytest.mark.parametrize("clip", [None, clipping.by_global_norm(0.1)])
@pytest.mark.parametrize("every", ["epoch", "step"])
def test_kernels_on_several_threads_are_called_through_python(tmp_path, driven, monkeypatch, every, clip):
    monkeypatch.setattr(layout, "PARALLEL_FROM", 1)
    before = get_num_threads()
    set_num_threads(2)
    records = []

    def settings():
        def clipped(model):
            optimizer = optim.Adam(model.parameters(), 0.01, clip=clip)
            path = tmp_path / f"{len(records)}.jsonl"
            records.append(study.Recorder(model, optimizer, every=6, path=path))
            return optimizer

        return clipped

    class Recording(list):
        def __iter__(self):
            return iter(records[-1:])

    try:
        run = compared(
            optimizer=settings, callbacks=Recording, epochs=lambda: 6, loader=batches(size=5),
            scheduler=lambda: lambda optimizer: schedulers.ExponentialLR(optimizer, 0.9), scheduler_every=lambda: every,
        )  # fmt: skip
    finally:
        set_num_threads(before)
    assert run.eager == ""
    assert bool(driven) == (every == "epoch")
    assert (tmp_path / "0.jsonl").read_bytes() == (tmp_path / "1.jsonl").read_bytes()


def test_a_recorder_around_fit_and_a_search_for_anomalies_see_every_step(driven):
    states = []
    for compiled in (False, True):
        manual_seed(0)
        model = nn.MLP([2, 8, 3])
        optimizer = optim.Adam(model.parameters(), 0.01)
        with study.Recorder(model, optimizer, every=3) as recorder:
            run = training.fit(model, optimizer, batches()(), 2, compiled=compiled)
        assert not compiled or "a hook is registered" in run.eager
        with study.detect_anomaly():
            run = training.fit(model, optimizer, batches()(), 2, compiled=compiled)
        assert not compiled or "being watched" in run.eager
        states.append((run.state_dict(), recorder.recording.records))
    assert same(*states)
    assert not driven
