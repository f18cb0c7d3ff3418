"""Runs that are trained together have the bits of runs that are trained alone."""

import functools

import numpy as np
import pytest

from minigrad import clipping, data, nn, optim, random, schedulers, training
from minigrad.training import _together
from minigrad.training._together import train_together

EPOCHS = 4
TRAIN, HELD_OUT = data.stratified_split(data.spirals(150, seed=1), 0.3)
RATES = [1e-3, 1e-2, 0.1]


def small(inputs=2):
    return nn.MLP([inputs, 6, 3])


def normalized():
    return nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3))


def make(seed, lr, model=small, optimizer=optim.Adam, schedule=None, clip=None, batch=16, callbacks=(), **settings):
    random.manual_seed(seed)
    made = model()
    updates = optimizer(made.parameters(), lr=lr, clip=clip) if clip else optimizer(made.parameters(), lr=lr)
    loader = data.DataLoader(settings.pop("train", TRAIN), batch, shuffle=True, seed=seed)
    return training.Run(
        made,
        updates,
        loader,
        settings.pop("loss", nn.functional.cross_entropy),
        metrics=settings.pop("metrics", {"accuracy": training.correct}),
        evaluate=settings.pop("evaluate", HELD_OUT),
        scheduler=schedule and schedule(updates),
        callbacks=[kind() for kind in callbacks],
        **{"compiled": True, **settings},
    )


def state_of(run):
    values = {name: value.data.tobytes() for name, value in run.model.state_dict().items()}
    return values, run.progress.state_dict(), run.loader.state_dict()


def check(threads=1, rates=RATES, seeds=2, epochs=EPOCHS, **settings):
    """Train runs together and alone; return the errors that ended them."""
    functions = [functools.partial(make, seed, lr, **settings) for lr in rates for seed in range(seeds)]
    together = {each.number: each for each in train_together([("kind", f) for f in functions], epochs, threads)}
    assert sorted(together) == list(range(len(functions)))
    errors = []
    for number, function in enumerate(functions):
        alone, error = function(), None
        try:
            training.train(alone, epochs)
        except training.NonFiniteLossError as raised:
            error = raised
        except training.DivergedError as raised:
            error = raised
        found = together[number]
        assert (type(found.error), str(found.error)) == (type(error), str(error))
        assert state_of(found.run) == state_of(alone)
        errors.append(error)
    return errors


@pytest.fixture
def tracks(monkeypatch):
    """The tracks that are made, each by the reason that it could not be; ``None`` if it could."""
    made = []
    init = _together._Track.__init__

    def noted(self, *args):
        try:
            init(self, *args)
        except ValueError as error:
            made.append(str(error))
            raise
        made.append(None)

    monkeypatch.setattr(_together._Track, "__init__", noted)
    return made


@pytest.mark.parametrize("threads", [1, 3])
def test_runs_have_the_bits_of_single_ones(threads, tracks):
    assert check(threads) == [None] * 6
    assert tracks == [None] * threads


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.SGD,
        functools.partial(optim.SGD, momentum=0.9, nesterov=True),
        optim.NAdam,
        optim.RAdam,
        optim.LAMB,
        functools.partial(optim.AdamW, amsgrad=True),
        optim.Adagrad,
        optim.LARS,
        optim.RMSprop,
    ],
    ids=lambda each: getattr(each, "__name__", "partial"),
)
def test_optimizers_begin_again(optimizer, tracks):
    check(optimizer=optimizer)
    assert tracks == [None]


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": lambda o: schedulers.StepLR(o, 2, 0.1)},
        {"schedule": lambda o: schedulers.CosineAnnealingLR(o, 3)},  # ends at 0, where another chain might begin
        {"schedule": lambda o: [schedulers.LinearLR(o, total_iters=3), schedulers.ExponentialLR(o, 0.5)]},
        {"clip": clipping.by_global_norm(0.1)},
        {"clip": clipping.by_value(0.01)},
        {"clip": clipping.adaptive(0.01)},
        {"model": normalized},
        {"batch": 7},
        {"batch": 105},  # all rows in a batch
        {"batch": 200},
        {"evaluate": None},
        {"evaluate": None, "metrics": {}},
        {"loss": functools.partial(nn.functional.cross_entropy, reduction="sum"), "rates": [1e-4]},
        {"loss": functools.partial(nn.functional.cross_entropy, label_smoothing=0.1)},
        {"epochs": 0},
        {"epochs": 1},
    ],
    ids=[
        "StepLR",
        "CosineAnnealingLR",
        "two schedules",
        "by_global_norm",
        "by_value",
        "adaptive",
        "normalization and dropout",
        "batch of 7",
        "one batch",
        "a batch that is too large",
        "no evaluation",
        "no metrics",
        "sum",
        "label smoothing",
        "no epoch",
        "one epoch",
    ],
)
def test_every_kind_of_run(settings, tracks):
    check(**settings)
    assert tracks == [None]


def test_evaluation_in_several_batches(tracks, monkeypatch):
    monkeypatch.setattr(_together, "EVALUATED", 16)
    monkeypatch.setattr(training.evaluation.evaluate, "__defaults__", (None, 16))
    check()
    assert tracks == [None]


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": lambda p, lr: optim.Lookahead(optim.SGD(p, lr=lr))},
        {"schedule": lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=40), "scheduler_every": "step"},
        {"schedule": lambda o: schedulers.ReduceLROnPlateau(o, patience=0)},
        {"callbacks": [lambda: training.EarlyStopping(1)]},
        {"accumulate": 2},
        {"metrics": {"errors": training.metric("min")(lambda output, labels: (output.argmax(1) != labels).sum())}},
        {"evaluate": training.metric(size="min")(lambda model: {"size": float(abs(model[0].weight.data).sum())})},
        {"compiled": False},
    ],
    ids=["Lookahead", "OneCycleLR", "plateau", "early stopping", "accumulate", "metric", "evaluate", "eager"],
)
def test_runs_that_need_python_are_trained_all_the_same(settings, tracks):
    check(seeds=1, **settings)
    assert tracks in ([], ["Python takes part in the steps"])


def test_runs_that_diverge_stop_at_their_step(tracks):
    errors = check(optimizer=optim.SGD, rates=[0.1, 1e4, 1e20, 0.2], callbacks=[training.StopIfDiverged])
    assert [type(each) for each in errors[::2]] == [
        type(None), training.DivergedError, training.NonFiniteLossError, type(None)
    ]  # fmt: skip
    assert tracks == [None]


def test_an_update_that_is_not_finite(tracks):
    check(clip=clipping.by_global_norm(1.0, nonfinite="raise"), rates=[0.1, 1e30], optimizer=optim.SGD)


def test_data_with_nan_is_found_as_by_a_single_run(tracks):
    features = TRAIN.features.copy()
    broken = data.Dataset(features, TRAIN.labels)
    features[40] = np.nan  # after the dataset has checked it
    assert all(isinstance(error, training.NonFiniteLossError) for error in check(train=broken, seeds=1))


def test_kinds_do_not_mix(tracks):
    functions = {("a", seed): functools.partial(make, seed, 0.01) for seed in range(2)}
    functions |= {("b", seed): functools.partial(make, seed, 0.01, model=normalized) for seed in range(2)}
    pairs = [((kind), f) for (kind, _), f in functions.items()]
    for each in train_together(pairs[::-1], EPOCHS, 2):
        alone = pairs[::-1][each.number][1]()
        training.train(alone, EPOCHS)
        assert state_of(alone) == state_of(each.run)


def test_an_error_while_a_run_is_made_is_its_own():
    def fail():
        raise ValueError("no such model")

    found = {x.number: x for x in train_together([("x", fail), ("k", functools.partial(make, 0, 0.01))], 1, 2)}
    assert str(found[0].error) == "no such model"
    assert found[0].run is None
    assert found[1].error is None


def test_the_generator_of_this_thread_is_left_alone():
    random.manual_seed(3)
    before = random.get_state()
    list(train_together([("k", functools.partial(make, 0, 0.01, model=normalized))], 2, 2))
    assert random.get_state() == before


def test_the_rest_is_not_trained_if_the_caller_stops():
    made = []

    def noted(seed):
        made.append(seed)
        return make(seed, 0.01)

    runs = train_together([("k", functools.partial(noted, seed)) for seed in range(200)], 2)
    next(runs)
    runs.close()
    assert len(made) < 100
