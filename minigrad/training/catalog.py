"""What a run can be made of, by name: datasets, losses, optimizers, schedules, clips."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .. import clipping, data, optim, schedulers
from ..nn import functional
from ..optim import Optimizer
from ..schedulers import ReduceLROnPlateau, Schedule, Scheduler
from .calls import arguments_of
from .evaluation import Metric, correct

# Per optimizer the settings with which the digits reach 96.5 % held out; the rest are the class's defaults. LARS's eps
# lets the steps end: without it they are as long with the small gradients at the end as with the large ones before.
# Lookahead is around SGD.
OPTIMIZERS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 0.2, "momentum": 0.9},
    "Adagrad": {"lr": 0.1, "initial_accumulator_value": 0.01},
    "Adadelta": {"lr": 4.0},
    "RMSprop": {"lr": 0.0005, "momentum": 0.9},
    "Adam": {"lr": 0.005},
    "AdamW": {"lr": 0.005},
    "Adamax": {"lr": 0.02},
    "NAdam": {"lr": 0.005},
    "RAdam": {"lr": 0.01},
    "AdaBelief": {"lr": 0.01},
    "Lion": {"lr": 0.001},
    "LAMB": {"lr": 0.004},
    "LARS": {"lr": 0.2, "trust_coefficient": 0.05, "eps": 0.5},
    "Lookahead": {"lr": 0.2, "momentum": 0.9},
}
# The same where labels are numbers: a squared error has steeper slopes than a cross-entropy.
FOR_NUMBERS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 0.02, "momentum": 0.9},
    "LARS": {"lr": 0.5},
    "Lookahead": {"lr": 0.02, "momentum": 0.9},
}

LOSSES: dict[str, Callable[..., Any]] = {
    name: getattr(functional, name) for name in ("cross_entropy", "mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss")
}

# What is measured where labels are classes, besides the loss.
METRICS: dict[str, Metric] = {"accuracy": correct}

CLIPS: dict[str, Callable[..., clipping.Clip]] = {
    name: getattr(clipping, name) for name in ("by_global_norm", "by_norm", "by_value", "adaptive")
}

# Those that need other schedulers, or a function, cannot be written on a command line.
_NOT_AS_TEXT = {"LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler", "Scheduler", "Schedule"}
_NOT_AS_TEXT |= {"Lambda", "Multiplicative", "Function", "Join", "Hold", "Product", "Scale", "Shift"}


def schedules() -> dict[str, type[Scheduler] | type[ReduceLROnPlateau] | type[Schedule]]:
    """Schedulers with PyTorch's names, and schedules by their own."""
    found = {name: getattr(schedulers, name) for name in schedulers.__all__ if name not in _NOT_AS_TEXT}
    return {name: value for name, value in found.items() if isinstance(value, type)}


def optimizer_arguments(name: str) -> dict[str, inspect.Parameter]:
    """The hyper-parameters of an optimizer, from the signature of its class; for Lookahead, those of SGD inside."""
    kind = optim.SGD if name == "Lookahead" else getattr(optim, name)
    return arguments_of(kind, ("params", "clip"))


def preset(optimizer: str, dataset: str) -> dict[str, float]:
    """The settings of an optimizer that suit a dataset, from the tables."""
    table = FOR_NUMBERS if dataset.lower() in data.CURVES else {}
    return table.get(optimizer, OPTIMIZERS[optimizer])


def lookahead_arguments() -> dict[str, inspect.Parameter]:
    """What can be set of Lookahead itself."""
    return arguments_of(optim.Lookahead, ("optimizer",))


def schedule_arguments(name: str) -> dict[str, inspect.Parameter]:
    """What can be set of a schedule; functions cannot."""
    return arguments_of(schedules()[name], ("optimizer", "last_epoch", "scale_fn"))


def data_arguments(name: str) -> dict[str, inspect.Parameter]:
    """What can be set of a dataset."""
    return arguments_of(data.DATASETS[name], ("name", "kind"))


def loss_arguments(name: str) -> dict[str, inspect.Parameter]:
    """What can be set of a loss; the training needs the mean."""
    return arguments_of(LOSSES[name], ("x", "target", "weight", "reduction"))


def make_optimizer(name: str, parameters: Any, options: dict[str, Any], clip: list[clipping.Clip]) -> Optimizer:
    """An optimizer by its name, which for Lookahead is that of SGD."""
    kind = optim.SGD if name == "Lookahead" else getattr(optim, name)
    return kind(parameters, clip=clip or None, **options)
