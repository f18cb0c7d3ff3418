"""fit is the explicit loop, with callbacks, evaluation and accumulation, and it stops at what is not finite."""

import fractions
import functools
import json
import math
import re

import numpy as np
import pytest
from training_cases import Case, StopAfter, blobs

from minigrad import Tensor, data, manual_seed, nn, optim, schedulers, training


def parts(**loader):
    train, held_out = blobs()
    manual_seed(0)
    model = nn.MLP([2, 8, 3])
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    return (
        model,
        optimizer,
        data.DataLoader(train, **{"batch_size": 10, "shuffle": True, "seed": 0, **loader}),
        held_out,
    )


def equal(a, b):
    return all((p.data == q.data).all() for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_fit_trains_the_same_bits_as_the_explicit_loop():
    model, optimizer, loader, _ = parts()
    scheduler = schedulers.StepLR(optimizer, 2, 0.5)
    for _ in range(4):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
    other, optimizer, loader, held_out = parts()
    run = training.fit(other, optimizer, loader, 4, evaluate=held_out, scheduler=schedulers.StepLR(optimizer, 2, 0.5))
    assert equal(model, other)
    assert run.progress.step == 4 * len(loader)


def test_the_history_has_the_means_over_rows_and_the_held_out_metrics_after_each_epoch():
    model, optimizer, loader, held_out = parts(batch_size=7)  # the last batch of an epoch is smaller
    optimizer.param_groups[0]["lr"] = 0.0
    run = training.fit(model, optimizer, loader, 2, evaluate=held_out, metrics={"accuracy": training.correct})
    for part, dataset in (("train", loader.dataset), ("held_out", held_out)):
        logits = model(dataset.features).data
        expected = -np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))[range(len(logits)), dataset.labels]
        for row in run.progress.history:
            assert row[f"{part}_loss"] == pytest.approx(expected.mean(), rel=1e-5)
            assert row[f"{part}_accuracy"] == (logits.argmax(1) == dataset.labels).mean()


def test_evaluation_runs_in_evaluation_mode_and_leaves_every_mode_as_it_was():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))
    model[1].eval()
    first, again = (training.evaluate(model, blobs()[1], nn.functional.cross_entropy) for _ in range(2))
    assert first == again
    assert [module.training for module in model.modules()] == [True, True, False]


def test_accumulated_batches_give_the_step_of_one_large_batch():
    model, optimizer, loader, _ = parts(batch_size=9)  # 45 rows: 5 batches, of which the last is a group alone
    training.fit(model, optimizer, loader, 1, accumulate=2)
    other, optimizer, loader, _ = parts(batch_size=18)
    training.fit(other, optimizer, loader, 1)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("rows", "accumulate"), [(4, 3), (3, 5), (4, 2), (7, 2)], ids=str)
def test_batches_of_unequal_size_accumulate_to_the_step_of_all_their_rows(reduction, rows, accumulate):
    """10 rows in 4 + 4 + 2 are one batch of 10; the last, incomplete group of 4 + 4, 2 is a batch of 2."""
    features, labels = np.random.default_rng(0).normal(size=(10, 2)), np.arange(10) % 3
    dataset = data.Dataset(features.astype(np.float32), labels)

    def trained(batch_size, accumulate):
        manual_seed(0)
        model = nn.MLP([2, 8, 3])
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        loader = data.DataLoader(dataset, batch_size=batch_size)
        loss = nn.CrossEntropyLoss(reduction=reduction)
        return training.fit(model, optimizer, loader, 2, loss=loss, accumulate=accumulate, evaluate=dataset)

    parts, whole = trained(rows, accumulate), trained(min(rows * accumulate, 10), 1)
    for p, q in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-4, atol=1e-6)
    assert parts.progress.step == whole.progress.step
    assert parts.progress.loss == pytest.approx(whole.progress.loss, rel=1e-5)
    # What is reported is the mean over the rows also of a loss that is their sum.
    total = nn.CrossEntropyLoss(reduction="mean")(parts.model(Tensor(dataset.features)), Tensor(labels)).item()
    assert parts.progress.history[-1]["held_out_loss"] == pytest.approx(total, rel=1e-5)
    assert parts.progress.history[-1]["train_loss"] == pytest.approx(whole.progress.history[-1]["train_loss"], rel=1e-4)


def test_whether_a_loss_adds_up_is_seen_in_partial_functions_too():
    loss = nn.functional.cross_entropy
    model, dataset = nn.MLP([2, 3]), blobs()[1]
    found = [
        training.evaluate(model, dataset, each)["loss"]
        for each in (loss, functools.partial(loss, reduction="sum"), functools.partial(loss, reduction="mean"))
    ]
    assert found == pytest.approx(found[:1] * 3, rel=1e-6)


IGNORING = data.Dataset(
    np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32), [0, -100, 1, 1, -100, -100, -100, 0, 1, 1]
)
CLASS_WEIGHT = np.array([0.25, 2.0], np.float32)
COUNTING = {
    "cross entropy": nn.functional.cross_entropy,
    "weighted": functools.partial(nn.functional.cross_entropy, weight=CLASS_WEIGHT),
    "weighted by a list": functools.partial(nn.functional.cross_entropy, weight=[0.25, 2.0]),
    "a class ignored": functools.partial(nn.functional.cross_entropy, ignore_index=0),
    "smoothed": functools.partial(nn.functional.cross_entropy, weight=CLASS_WEIGHT, label_smoothing=0.1),
    "module": nn.CrossEntropyLoss(weight=CLASS_WEIGHT),
    "partial of a module": functools.partial(nn.CrossEntropyLoss(ignore_index=1)),
    "sum": nn.CrossEntropyLoss(weight=CLASS_WEIGHT, reduction="sum"),
    "nll": functools.partial(nn.functional.nll_loss, weight=CLASS_WEIGHT),
    "nll module": nn.NLLLoss(),
}


@pytest.mark.parametrize("kind", COUNTING)
def test_batches_weigh_by_the_labels_that_count_and_their_class_weights(kind):
    """As in one batch of all rows; batches of 4 rows have 3, 1 and 2 labels that are not -100."""
    loss = COUNTING[kind]
    dataset = IGNORING
    if "ignore" in kind or "partial" in kind:
        dataset = data.Dataset(IGNORING.features, [0, 1, 1, 1, 0, 0, 1, 0, 1, 0])

    def trained(batch_size, accumulate):
        manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        loader = data.DataLoader(dataset, batch_size)
        return training.fit(model, optimizer, loader, 2, loss=loss, accumulate=accumulate, evaluate=dataset)

    parts, whole = trained(4, 3), trained(10, 1)
    for p, q in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-5, atol=1e-7)
    assert parts.progress.loss == pytest.approx(whole.progress.loss, rel=1e-6)
    for row, expected in zip(parts.progress.history, whole.progress.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-6)
    model = whole.model
    if "sum" not in kind:
        expected = loss(model(Tensor(dataset.features)), Tensor(dataset.labels)).item()
        assert training.evaluate(model, dataset, loss)["loss"] == pytest.approx(expected, rel=1e-6)
    found = [
        training.evaluate(model, dataset, loss, batch_size=size)["loss"]
        for size in (3 if dataset is IGNORING else 5, 4, 6)
    ]
    assert found == pytest.approx([training.evaluate(model, dataset, loss)["loss"]] * 3, rel=1e-6)


def test_class_probabilities_and_other_losses_weigh_by_rows():
    features, rng = IGNORING.features, np.random.default_rng(0)
    soft = data.Dataset(features, rng.dirichlet([1.0, 1.0], 10).astype(np.float32))
    hard = data.Dataset(features, np.arange(10) % 2)
    loss = nn.CrossEntropyLoss(weight=CLASS_WEIGHT)
    rows = nn.functional.cross_entropy
    model = nn.Linear(3, 2)
    for dataset, each in ((soft, loss), (soft, nn.MSELoss()), (hard, lambda x, y: rows(x, y, reduction="none").mean())):
        assert training.evaluate(model, dataset, each, batch_size=4) == pytest.approx(
            training.evaluate(model, dataset, each), rel=1e-6
        )


def test_progress_saved_before_labels_were_counted_loads():
    state = training.Progress(rows=8, loss_sum=4.0, loss_count=8).state_dict()
    del state["loss_count"]
    assert training.Progress.from_state(state).means() == {"train_loss": 0.5}


def test_callbacks_are_called_in_order_at_their_moments():
    calls = []

    class Note(training.Callback):
        def __init__(self, name):
            self.name = name

        def begin(self, run):
            calls.append(("begin", self.name))

        def after_step(self, run):
            calls.append(("step", self.name))

        def after_epoch(self, run):
            calls.append(("epoch", self.name))

        def end(self, run):
            calls.append(("end", self.name))

        def close(self):
            calls.append(("close", self.name))

    model, optimizer, loader, _ = parts(batch_size=23)
    training.fit(model, optimizer, loader, 1, callbacks=[Note("a"), Note("b")])
    assert calls == [
        *[(moment, name) for moment in ("begin", "step", "step", "epoch", "end") for name in "ab"],
        ("close", "b"),
        ("close", "a"),
    ]


def test_callbacks_are_told_what_error_ended_training():
    calls = []

    class Note(training.Callback):
        def after_step(self, run):
            if run.progress.step == 3:
                raise OSError("no space left")

        def failed(self, run, error):
            calls.append((run.progress.step, str(error)))

        def end(self, run):
            calls.append("end")

        def close(self):
            calls.append("close")

    model, optimizer, loader, _ = parts()
    with pytest.raises(OSError, match="no space left"):
        training.fit(model, optimizer, loader, 1, callbacks=[Note()])
    assert calls == [(3, "no space left"), "close"]
    training.fit(model, optimizer, loader, 0, callbacks=[Note()])
    assert calls[2:] == ["end", "close"]


def test_a_stop_within_an_epoch_ends_after_that_step():
    model, optimizer, loader, _ = parts()
    run = training.fit(model, optimizer, loader, 5, callbacks=[StopAfter(7)])
    assert (run.progress.step, run.progress.epoch, run.progress.batch) == (7, 1, 2)
    assert run.stopping == "a test asked for it"


def test_early_stopping_keeps_the_best_epoch_and_stops_after_its_patience():
    model, optimizer, loader, _ = parts()
    losses = iter([3.0, 2.0, 2.5, math.nan, 2.0, 9.0])
    run = training.fit(
        model,
        optimizer,
        loader,
        50,
        evaluate=lambda model: {"loss": next(losses)},
        callbacks=[training.EarlyStopping(3)],
    )
    assert (run.progress.epoch, run.progress.best, run.progress.best_epoch) == (5, 2.0, 2)


def test_plateau_is_given_the_monitored_metric():
    model, optimizer, loader, _ = parts()
    plateau = schedulers.ReduceLROnPlateau(optimizer, "min", factor=0.5, patience=0)
    losses = iter([3.0, 2.0, 2.5, 2.4])
    training.fit(model, optimizer, loader, 4, evaluate=lambda model: {"loss": next(losses)}, scheduler=plateau)
    assert optimizer.param_groups[0]["lr"] == 0.02 * 0.25


# --- what is not finite ----------------------------------------------------------------------------------------------


class Explode(training.Callback):
    """Breaks a parameter after a step."""

    def __init__(self, step, name):
        self.step, self.name = step, name

    def after_step(self, run):
        if run.progress.step == self.step:
            dict(run.model.named_parameters())[self.name].data[0] = np.nan


def test_a_loss_that_is_nan_stops_at_its_step_and_names_the_layer_and_keeps_the_checkpoint(tmp_path):
    case = Case(tmp_path / "run", "SGD", every="step")
    with pytest.raises(training.NonFiniteLossError) as caught:
        case.go(5, callbacks=[Explode(7, "4.bias")])
    assert (caught.value.step, caught.value.layer) == (8, "4")
    assert re.search(r"the loss is nan at step 8 \(epoch 2\); layer '4' \(Linear\) .* whose bias", str(caught.value))
    assert case.last().name == "step-000000005.safetensors"
    fresh = Case(tmp_path / "run", "SGD", every="step")
    fresh.go(5, resume=case.last())
    assert fresh.run.progress.epoch == 5


def test_the_first_of_several_broken_layers_is_named(tmp_path):
    case = Case(tmp_path / "run", "SGD")
    with pytest.raises(training.NonFiniteLossError) as caught:
        case.go(5, callbacks=[Explode(3, "4.weight"), Explode(3, "1.weight")])
    assert caught.value.layer == "1"


def test_features_that_are_not_finite_are_named_and_no_layer(tmp_path):
    model, optimizer, _, _ = parts()
    bad = data.Dataset(np.full((4, 2), np.nan, np.float32), np.zeros(4, np.int64), allow_nonfinite=True)
    with pytest.raises(training.NonFiniteLossError, match="features of the batch") as caught:
        training.fit(model, optimizer, data.DataLoader(bad, 4), 1)
    assert caught.value.layer is None


def test_a_loss_function_that_gives_nan_is_told_from_a_layer(tmp_path):
    model, optimizer, loader, _ = parts()
    with pytest.raises(training.NonFiniteLossError, match="every layer is finite"):
        training.fit(model, optimizer, loader, 1, loss=lambda output, labels: output.mean() * math.nan)


def test_finding_the_layer_changes_neither_buffers_nor_random_numbers(tmp_path):
    case = Case(tmp_path / "run", "SGD")
    states = []

    class Watch(training.Callback):
        def close(self):
            states.append({n: b.data.copy() for n, b in case.model.named_buffers()})

        def after_step(self, run):
            states.append({n: b.data.copy() for n, b in case.model.named_buffers()})
            states[:] = states[-1:]

    with pytest.raises(training.NonFiniteLossError):
        case.go(5, callbacks=[Explode(3, "4.weight"), Watch()])
    before, after = states
    # The forward pass of the failing step itself counts a batch; looking for the layer does not count another.
    assert after["1.num_batches_tracked"] == before["1.num_batches_tracked"] + 1


def test_a_loss_that_grows_tenfold_is_a_divergence():
    model, optimizer, loader, _ = parts()
    optimizer = optim.SGD(model.parameters(), lr=1e4)
    with pytest.raises(training.DivergedError, match=r"the loss has diverged: .* in epoch 1, 1\.\d+ at the first step"):
        training.fit(model, optimizer, loader, 50, callbacks=[training.StopIfDiverged()])


# --- logs ------------------------------------------------------------------------------------------------------------


def test_the_logs_hold_every_step_and_every_epoch_in_numbers_that_read_back_exactly(tmp_path):
    case = Case(tmp_path / "run", scheduler="StepLR")
    run = case.go(4)
    steps = [json.loads(line) for line in (case.folder / "steps.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == list(range(1, 21))
    assert [row["epoch"] for row in steps] == [epoch for epoch in range(1, 5) for _ in range(5)]
    assert steps[-1]["loss"] == run.progress.loss
    assert steps[-1]["lr"] == 0.01 * 0.7
    names, *rows = [line.split(",") for line in (case.folder / "metrics.csv").read_text().splitlines()]
    assert names == ["epoch", "step", "train_loss", "train_accuracy", "held_out_loss", "held_out_accuracy"]
    for number, (row, expected) in enumerate(zip(rows, run.progress.history, strict=True), 1):
        assert row[:2] == [str(number), str(5 * number)]
        assert [float(text) for text in row[2:]] == list(expected.values())


def test_two_processes_cannot_write_one_run(tmp_path):
    pytest.importorskip("fcntl")
    case = Case(tmp_path / "run")

    class Intrude(training.Callback):
        def after_epoch(self, run):
            other = training.RunLog(case.folder)
            other.begin(run)

    with pytest.raises(ValueError, match=r"steps.jsonl: another process is writing this run"):
        case.go(2, callbacks=[Intrude()])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 0}, "accumulate must be a whole number of 1 or more, not 0"),
        ({"scheduler_every": "batch"}, "unknown scheduler_every 'batch'; known are epoch, step"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    model, optimizer, loader, _ = parts()
    with pytest.raises(ValueError, match=message):
        training.fit(model, optimizer, loader, 1, **settings)


@pytest.mark.parametrize("patience", [0, -1, 1.5, True])
def test_a_patience_that_makes_no_sense_is_refused(patience):
    with pytest.raises((TypeError, ValueError), match="patience must be a whole number of 1 or more"):
        training.EarlyStopping(patience)


MISTAKEN = {
    "a callback class": (
        {"callbacks": [training.EarlyStopping]},
        r"EarlyStopping\(\.\.\.\), not the class EarlyStopping",
    ),
    "what is no callback": ({"callbacks": [training.Progress()]}, "training.Callback, and a Progress is not one"),
    "a class of that": ({"callbacks": [training.Progress]}, "not the class Progress"),
    "a function": ({"callbacks": [print]}, "a builtin_function_or_method is not one"),
    "one callback and no list": ({"callbacks": training.EarlyStopping(3)}, "must be a list, not a EarlyStopping"),
    "a scheduler class": ({"scheduler": schedulers.StepLR}, r"scheduler must be an instance: StepLR\(\.\.\.\)"),
    "a schedule": (
        {"scheduler": schedulers.Linear(1.0, 0.5, 6)},
        "schedulers of an optimizer, and a Linear is not one",
    ),
    "a loss class": ({"loss": nn.CrossEntropyLoss}, r"loss must be an instance: CrossEntropyLoss\(\.\.\.\)"),
    "a loader to evaluate on": (
        {"evaluate": data.DataLoader(blobs()[1], 5)},
        r"evaluate must be a Dataset, such as .* or loader.dataset, or a function of the model, not a DataLoader",
    ),
    "a pair to evaluate on": ({"evaluate": (np.ones((2, 2)), np.ones(2))}, r"evaluate must be a Dataset.* not a tuple"),
    "an array to evaluate on": ({"evaluate": np.ones((2, 2))}, r"evaluate must be a Dataset.* not a ndarray"),
    "True to evaluate": ({"evaluate": True}, r"evaluate must be a Dataset.* not a bool"),
    "a class to evaluate on": ({"evaluate": data.Dataset}, r"evaluate must be an instance: Dataset\(\.\.\.\)"),
    "a list of metrics": ({"metrics": [training.correct]}, r'metrics must be .*\{"accuracy": .* not a list'),
    "no list of metrics": ({"metrics": []}, r"metrics must be functions by name.* not a list"),
    "one metric": ({"metrics": training.correct}, "metrics must be functions by name.* not a function"),
    "a metric by its name": ({"metrics": {"accuracy": "correct"}}, "the metric 'accuracy' must be a function.* a str"),
    "a metric without name": ({"metrics": {0: training.correct}}, "name of a metric must be text, not an int"),
    "a metric's class": ({"metrics": {"a": training.Progress}}, r"the metric 'a' must be an instance: Progress"),
    "a loss by its name": ({"loss": "mse"}, "loss must be a function .* nn.functional.cross_entropy, not a str"),
    "no loss": ({"loss": None}, "loss must be a function of output and labels.* not a NoneType"),
    "a function as model": ({"model": lambda x: x}, "model must be a Module, such as .* not a function"),
    "a model class": ({"model": nn.MLP}, r"model must be an instance: MLP\(\.\.\.\)"),
    "a list of batches": ({"loader": [([[0.0, 0.0]], [1])]}, "loader must be a DataLoader, such as .* not a list"),
    "a generator": ({"loader": (each for each in [])}, "loader must be a DataLoader, such as .* not a generator"),
    "a dataset as loader": ({"loader": blobs()[0]}, "loader must be a DataLoader, such as .* not a Dataset"),
    "parameters as optimizer": ({"optimizer": []}, "optimizer must be an Optimizer, such as .* not a list"),
    "an optimizer class": ({"optimizer": optim.Adam}, r"optimizer must be an instance: Adam\(\.\.\.\)"),
}


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_what_is_given_by_mistake_is_named_before_anything_is_trained(mistake):
    settings, message = MISTAKEN[mistake]
    model, optimizer, loader, _ = parts()
    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(TypeError, match=f"fit: .*{message}"):
        training.fit(**{"model": model, "optimizer": optimizer, "loader": loader, "epochs": 1, **settings})
    assert all((p.data == old).all() for p, old in zip(model.parameters(), before, strict=True))


def test_a_function_of_an_epoch_must_be_one():
    with pytest.raises(TypeError, match="OnEpoch: needs a function of the run, not a int"):
        training.OnEpoch(3)


def test_callbacks_that_differ_from_those_of_the_saved_run_are_named(tmp_path):
    case = Case(tmp_path / "run")
    case.go(1)
    again = Case(tmp_path / "run")
    with pytest.raises(training.CheckpointError, match="has the callbacks none, and the saved one had RunLog"):
        training.fit(
            again.model, again.optimizer, again.loader, 2, resume=case.last(),
            metrics={"accuracy": training.correct}, evaluate=again.settings["evaluate"],
        )  # fmt: skip


def test_the_log_and_the_checkpoints_make_their_folders(tmp_path):
    model, optimizer, loader, _ = parts()
    log, kept = training.RunLog(tmp_path / "a" / "b"), training.Checkpoints(tmp_path / "e" / "f")
    training.fit(model, optimizer, loader, 1, callbacks=[log, kept])
    for file in ("a/b/steps.jsonl", "a/b/metrics.csv", "e/f/step-000000005.safetensors"):
        assert (tmp_path / file).exists()


def foreign(model):
    """Optimizers and schedulers that do not belong together."""
    own = optim.SGD(model.parameters(), 0.1)
    other = optim.SGD(nn.Linear(2, 3).parameters(), 0.1)
    step, plateau = schedulers.StepLR(other, 1), schedulers.ReduceLROnPlateau(other)
    chain = schedulers.SequentialLR(other, [schedulers.StepLR(other, 1), schedulers.ConstantLR(other)], [2])
    for each in (step, plateau, chain, [schedulers.StepLR(own, 1), step]):
        yield own, each, "belongs to another optimizer; make it from the optimizer that is passed to fit"
    yield own, schedulers.StepLR(optim.SGD(model.parameters(), 0.1), 1), "StepLR belongs to another optimizer"
    yield other, None, r"none of the model's parameters.*make it from model.parameters\(\)"
    yield optim.Lookahead(other), None, "none of the model's parameters"


def test_an_optimizer_of_another_model_and_schedulers_of_another_optimizer_are_refused():
    model, _, loader, _ = parts()
    before = [p.data.copy() for p in model.parameters()]
    for optimizer, scheduler, message in foreign(model):
        with pytest.raises(ValueError, match=f"fit: the .*{message}"):
            training.fit(model, optimizer, loader, 1, scheduler=scheduler)
    assert all((p.data == old).all() for p, old in zip(model.parameters(), before, strict=True))


def test_a_scheduler_of_the_optimizer_inside_lookahead_is_of_the_same_one():
    model, optimizer, loader, _ = parts()
    ahead = optim.Lookahead(optimizer)
    for inner, outer in ((optimizer, ahead), (ahead, ahead)):
        training.fit(model, outer, loader, 1, scheduler=schedulers.StepLR(inner, 1, 0.5))
    assert optimizer.param_groups[0]["lr"] == 0.02 / 4


@pytest.mark.parametrize("epochs", [-1, True, False, 1.0, 2.5, math.inf, "3", None])
def test_epochs_must_be_a_whole_number(epochs):
    model, optimizer, loader, _ = parts()
    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(
        (TypeError, ValueError), match=re.escape(f"fit: epochs must be a whole number of 0 or more, not {epochs!r}")
    ):
        training.fit(model, optimizer, loader, epochs, resume="a file that is not there")
    run = training.fit(model, optimizer, loader, 0)
    with pytest.raises((TypeError, ValueError), match="train: epochs must be a whole number of 0 or more"):
        training.train(run, epochs)
    assert all((p.data == old).all() for p, old in zip(model.parameters(), before, strict=True))
    assert training.train(run, np.int64(1)).progress.epoch == 1


@pytest.mark.parametrize("size", [0, -4, 2.0, True])
def test_the_batch_size_of_an_evaluation_must_be_a_whole_number(size):
    with pytest.raises((TypeError, ValueError), match="evaluate: batch_size must be a whole number of 1 or more"):
        training.evaluate(nn.Linear(2, 3), blobs()[1], nn.functional.cross_entropy, batch_size=size)


NO_NUMBERS = {
    "an array": (np.ones(3), r"ndarray of shape \(3,\)"),
    "an array of truth values": (np.array([True, False]), r"ndarray of shape \(2,\)"),
    "a tensor": (Tensor([1.0, 2.0]), r"Tensor of shape \(2,\)"),
    "an empty array": (np.ones(0), r"ndarray of shape \(0,\)"),
    "nothing": (None, "NoneType"),
    "text": ("1.5", "str"),
    "an array of text": (np.array("1.5"), "ndarray"),
    "a complex number": (1j, "complex"),
    "a list": ([1.0], "list"),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_a_metric_that_is_not_one_number_is_named(kind):
    value, message = NO_NUMBERS[kind]
    model, optimizer, loader, held_out = parts()
    metrics = {"right": training.correct, "mine": lambda output, labels: value}
    with pytest.raises(TypeError, match=f"fit: the metric 'mine' must be one number, not {message}"):
        training.fit(model, optimizer, loader, 1, metrics=metrics)
    with pytest.raises(TypeError, match=f"evaluate: the metric 'mine' must be one number, not {message}"):
        training.evaluate(model, held_out, nn.functional.cross_entropy, metrics)
    with pytest.raises(TypeError, match=f"fit: 'mine' of evaluate must be one number, not {message}"):
        training.fit(model, optimizer, loader, 1, evaluate=lambda model: {"loss": 1.0, "mine": value})
    with pytest.raises(TypeError, match=r'evaluate must return numbers by name, such as \{"loss": 0.5\}, not '):
        training.fit(model, optimizer, loader, 1, evaluate=lambda model: value)


@pytest.mark.parametrize(
    "value",
    [2, 2.0, np.float32(2), np.int64(2), np.array(2), np.array([2.0]), Tensor(2.0), Tensor([2]), fractions.Fraction(2)],
    ids=repr,
)
def test_a_metric_may_be_any_kind_of_number(value):
    model, optimizer, loader, held_out = parts(batch_size=45)
    run = training.fit(
        model, optimizer, loader, 1, metrics={"a": lambda output, labels: value},
        evaluate=lambda model: {"loss": value, "true": np.True_},
    )  # fmt: skip
    row = run.progress.history[0]
    assert (row["train_a"], row["held_out_loss"], row["held_out_true"]) == (2 / 45, 2.0, 1.0)
    assert {type(each) for each in row.values()} == {float}
    json.dumps(row)
    found = training.evaluate(model, held_out, nn.functional.cross_entropy, {"a": lambda output, labels: value})
    assert found["a"] == 2 / len(held_out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": lambda x: x}, "model must be a Module"),
        ({"loss": nn.CrossEntropyLoss}, "loss must be an instance"),
        ({"loss": "mse"}, "loss must be a function"),
        ({"metrics": [training.correct]}, "metrics must be functions by name"),
        ({"dataset": data.DataLoader(blobs()[1], 5)}, "dataset must be a Dataset.* loader.dataset, not a DataLoader"),
        ({"dataset": (np.ones((2, 2)), np.ones(2))}, "dataset must be a Dataset.* not a tuple"),
        ({"dataset": np.ones((2, 2))}, "dataset must be a Dataset.* not a ndarray"),
    ],
)
def test_what_is_given_to_evaluate_by_mistake_is_named(arguments, message):
    given = {"model": nn.Linear(2, 3), "dataset": blobs()[1], "loss": nn.functional.cross_entropy}
    with pytest.raises(TypeError, match=f"evaluate: {message}"):
        training.evaluate(**{**given, **arguments})
