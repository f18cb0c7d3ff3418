"""The monitored metric: early stopping, the best checkpoint and a plateau use the direction that it declares."""

import math

import numpy as np
import pytest
from test_training import parts

from minigrad import schedulers, training
from minigrad.cli import main
from minigrad.cli.options import complete
from minigrad.recipes.recipe import make_run, problem
from minigrad.training.evaluation import best_of, is_better


def given(values):
    """A metric that ends each epoch with the next of these values."""
    values = iter(values)
    return lambda model: {"score": next(values)}


def rate_of(optimizer):
    return optimizer.param_groups[0]["lr"] / 0.02


@pytest.fixture
def made():
    return parts()


# Which direction

RISING, FALLING = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]


@pytest.mark.parametrize("direction", ["min", "max"])
@pytest.mark.parametrize("values", [RISING, FALLING], ids=["rising", "falling"])
def test_plateau_early_stopping_and_best_checkpoint_use_the_declared_direction(made, tmp_path, direction, values):
    model, optimizer, loader, _ = made
    improves = (direction == "max") == (values is RISING)
    plateau = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    run = training.fit(
        model,
        optimizer,
        loader,
        6,
        evaluate=training.metric(score=direction)(given(values)),
        scheduler=plateau,
        callbacks=[training.EarlyStopping(5), training.Checkpoints(tmp_path)],
    )
    assert (run.monitor, run.direction, plateau.mode) == ("held_out_score", direction, direction)
    assert run.progress.best_epoch == (6 if improves else 1)
    assert training.read_checkpoint(tmp_path / "best.safetensors")["progress"]["epoch"] == run.progress.best_epoch
    assert bool(run.stopping) is not improves
    assert rate_of(optimizer) == (1 if improves else 0.25)


@pytest.mark.parametrize("name", ["mse", "error_free_rows", "loss_of_nothing", "accuracy", "my_error", "f1loss"])
@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_name_of_a_metric_does_not_matter(made, name, direction):
    model, optimizer, loader, _ = made
    counts = iter(np.linspace(0, 1, 100))
    metric = training.metric(direction)(lambda output, labels: len(labels) * next(counts))
    run = training.fit(model, optimizer, loader, 3, metrics={name: metric}, monitor=f"train_{name}")
    assert run.progress.best_epoch == (1 if direction == "min" else 3)


def test_a_plateau_without_a_mode_is_not_misled_by_a_rising_accuracy():
    arguments = complete({"lr": 0.05, "schedule": "ReduceLROnPlateau:patience=1", "epochs": 12})
    run = make_run(arguments, problem(arguments))
    training.train(run, arguments["epochs"])
    assert run.schedulers[0].mode == "max"
    assert run.progress.best > 0.95


def test_a_metric_may_be_any_callable_that_declares_its_direction(made):
    class Wrong:
        direction = "min"

        def __call__(self, output, labels):
            return (output.argmax(1) != labels).sum()

    model, optimizer, loader, held_out = made
    run = training.fit(
        model, optimizer, loader, 2, metrics={"wrong": Wrong()}, evaluate=held_out, monitor="held_out_wrong"
    )
    assert run.direction == "min"
    assert run.progress.best == min(row["held_out_wrong"] for row in run.progress.history)


# What is monitored by default


def test_an_accuracy_that_declares_nothing_is_reported_and_the_loss_is_monitored(made):
    def accuracy(output, labels):
        return (output.argmax(1) == labels).sum()

    model, optimizer, loader, held_out = made
    plain = training.fit(model, optimizer, loader, 1, metrics={"accuracy": accuracy}, evaluate=held_out)
    assert (plain.monitor, plain.direction) == ("held_out_loss", "min")
    assert "held_out_accuracy" in plain.progress.history[0]
    for metrics, evaluate, monitor in (
        ({"accuracy": training.correct}, held_out, "held_out_accuracy"),
        ({"accuracy": training.correct}, None, "train_accuracy"),
        ({}, None, "train_loss"),
        ({}, lambda model: {"loss": 1.0}, "held_out_loss"),
        ({}, training.metric(a="max", b="min")(lambda model: {"a": 1.0, "b": 1.0}), "held_out_a"),
    ):
        assert training.fit(model, optimizer, loader, 1, metrics=metrics, evaluate=evaluate).monitor == monitor


def test_where_evaluate_returns_nothing_that_is_known_the_training_is_reported_as_best(made):
    model, optimizer, loader, _ = made
    run = training.fit(model, optimizer, loader, 2, evaluate=given([1, 2]))
    assert (run.monitor, run.direction) == ("train_loss", "min")
    assert run.progress.best == min(row["train_loss"] for row in run.progress.history)


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau"])
def test_nothing_acts_on_the_training_loss_in_place_of_what_evaluate_returns(made, kind):
    def acting():
        model, optimizer, loader, _ = parts()
        if kind == "EarlyStopping":
            return model, optimizer, loader, {"callbacks": [training.EarlyStopping(3)]}
        return model, optimizer, loader, {"scheduler": schedulers.ReduceLROnPlateau(optimizer)}

    for metrics, name in ((None, "loss"), ({"accuracy": training.correct}, "accuracy")):
        model, optimizer, loader, settings = acting()
        message = rf'{kind} .*evaluate returned no \'{name}\'.*metric\(score="min"\).* monitor="train_{name}"'
        with pytest.raises(ValueError, match=message):
            training.fit(model, optimizer, loader, 2, evaluate=given([1, 2]), metrics=metrics, **settings)
    declared = training.metric(score="max")(given([1, 2]))
    for settings, monitor in (
        ({"evaluate": given([1, 2]), "monitor": "train_loss"}, "train_loss"),
        ({"evaluate": declared}, "held_out_score"),
        ({"evaluate": lambda model: {"loss": 1.0}}, "held_out_loss"),
    ):
        model, optimizer, loader, more = acting()
        run = training.fit(model, optimizer, loader, 2, **settings, **more)
        assert (run.monitor, run.progress.epoch) == (monitor, 2)


# What is refused before training


def refused(made, message, **arguments):
    model, optimizer, loader, _ = made
    before = [parameter.data.copy() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=message):
        training.fit(model, optimizer, loader, 2, **arguments)
    assert all((p.data == b).all() for p, b in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("held_out_acuracy", "unknown monitor 'held_out_acuracy'; did you mean 'held_out_accuracy'"),
        ("accuracy", "unknown monitor 'accuracy'; did you mean '(train|held_out)_accuracy'"),
        ("loss", "unknown monitor 'loss'; known are train_loss, held_out_loss$"),
        ("train_top3", r'train_top3 cannot be monitored.*@training.metric\("max"\) or @training.metric\("min"\)'),
        ("held_out_mse", "unknown monitor 'held_out_mse'"),
    ],
)
def test_a_monitor_that_is_unknown_or_declares_nothing_is_refused_before_training(made, monitor, message):
    metrics = {"accuracy": training.correct, "top3": lambda output, labels: 0.0}
    refused(made, message, monitor=monitor, metrics=metrics, evaluate=made[3])


def test_a_held_out_monitor_needs_something_held_out(made):
    refused(
        made, "unknown monitor 'held_out_loss'; .*train_loss; held-out metrics need evaluate=", monitor="held_out_loss"
    )


def test_a_number_that_evaluate_returns_must_be_declared_to_be_monitored(made):
    message = r"unknown monitor 'held_out_score'.*@training.metric\(name=\"min\"\) declares a number that evaluate"
    refused(made, message, monitor="held_out_score", evaluate=given([1.0]))
    model, optimizer, loader, _ = made
    wrong = training.metric(mse="min")(given([1.0]))
    with pytest.raises(ValueError, match=r"held_out_mse is monitored, but evaluate did not.*held_out_score"):
        training.fit(model, optimizer, loader, 2, evaluate=wrong)


@pytest.mark.parametrize(("metric", "mode", "better"), [("accuracy", "min", "more"), ("loss", "max", "less")])
def test_a_plateau_with_the_other_mode_is_refused_before_training(made, metric, mode, better):
    plateau = schedulers.ReduceLROnPlateau(made[1], mode)
    message = f"mode is '{mode}', but {better} of train_{metric} is better; leave the mode out"
    refused(made, message, scheduler=plateau, metrics={"accuracy": training.correct}, monitor=f"train_{metric}")
    later = schedulers.ReduceLROnPlateau(made[1])
    later.mode = mode
    refused(made, message, scheduler=[later], metrics={"accuracy": training.correct}, monitor=f"train_{metric}")


def test_a_plateau_that_has_seen_metrics_the_other_way_is_refused(made):
    plateau = schedulers.ReduceLROnPlateau(made[1])
    plateau.step(0.5)
    refused(made, "it has already been given metrics", scheduler=plateau, metrics={"accuracy": training.correct})


def test_a_direction_is_checked_where_it_is_declared(made):
    with pytest.raises(ValueError, match="metric: direction: unknown direction 'maximum'; did you mean 'max'"):
        training.metric("maximum")
    with pytest.raises(ValueError, match="metric: mse: unknown direction 'mn'; did you mean 'min'"):
        training.metric(mse="mn")
    for wrong in (
        lambda: training.metric(),
        lambda: training.metric("min", mse="min"),
        lambda: training.metric("min")(3),
    ):
        with pytest.raises(TypeError, match="metric: needs"):
            wrong()

    def top3(output, labels):
        return 0.0

    top3.direction = "up"
    refused(made, "the metric 'top3': unknown direction 'up'", metrics={"top3": top3})
    refused(made, "a metric cannot be named 'loss'", metrics={"loss": training.correct})


# Comparing values


@pytest.mark.parametrize("direction", ["min", "max"])
def test_nan_is_never_the_best_and_infinite_values_compare(direction):
    worst, top = (math.inf, -math.inf) if direction == "min" else (-math.inf, math.inf)
    assert not is_better(direction, math.nan, None)
    assert not is_better(direction, math.nan, worst)
    assert is_better(direction, worst, None)
    assert is_better(direction, 1.0, worst)
    assert is_better(direction, top, 1.0)
    assert not is_better(direction, top, top)
    assert best_of(direction, [math.nan, worst, 1.0, math.nan, 1.0]) == (2, 1.0)
    assert best_of(direction, [math.nan]) is None


def test_a_run_whose_first_epochs_have_no_number_has_its_best_later(made, tmp_path):
    model, optimizer, loader, _ = made
    losses = iter([math.nan, math.inf, 2.0, math.inf, math.nan])
    run = training.fit(
        model,
        optimizer,
        loader,
        5,
        evaluate=lambda model: {"loss": next(losses)},
        scheduler=schedulers.ReduceLROnPlateau(optimizer),
        callbacks=[training.Checkpoints(tmp_path)],
    )
    assert (run.progress.best, run.progress.best_epoch) == (2.0, 3)
    assert training.read_checkpoint(tmp_path / "best.safetensors")["progress"]["epoch"] == 3


# The command


def train(*arguments):
    return main(["train", "--no-output", "--quiet", "--epochs", "3", *arguments])


def test_the_command_refuses_a_plateau_with_the_other_mode_and_takes_the_right_one(capsys):
    assert train("--schedule", "ReduceLROnPlateau:mode=min") == 2
    assert "mode is 'min', but more of held_out_accuracy is better" in capsys.readouterr().err
    assert train("--schedule", "ReduceLROnPlateau:mode=max") == 0
    assert train("--data", "sine", "--schedule", "ReduceLROnPlateau:mode=min") == 0


def test_the_command_warms_up_under_a_plateau():
    arguments = complete({"schedule": "ReduceLROnPlateau:patience=0,factor=0.5", "warmup": 3, "epochs": 5})
    run = make_run(arguments, problem(arguments))
    rates = []
    run.callbacks.append(training.OnEpoch(lambda run: rates.append(run.optimizer.param_groups[0]["lr"])))
    training.train(run, 5)
    plateau = run.schedulers[1]
    assert isinstance(plateau, schedulers.ReduceLROnPlateau)
    accuracies = [row["held_out_accuracy"] for row in run.progress.history]
    factor, best, expected = 1.0, -1.0, []
    for epoch, accuracy in enumerate(accuracies, 1):
        factor *= 1.0 if accuracy > best * (1 + 1e-4) else 0.5
        best = max(best, accuracy)
        expected.append(0.2 * factor * min((1 + epoch) / 4, 1))
    assert rates == pytest.approx(expected)
