"""The names that the command line knows: losses, metrics, optimizers with their settings, schedules and clips."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .. import clipping, data, optim, schedulers
from ..nn import functional
from ..optim import Optimizer
from ..schedulers import ReduceLROnPlateau, Schedule, Scheduler
from ..training.evaluation import Metric, correct
from .calls import arguments_of

# The settings with which each optimizer reaches 96.5 % on held-out digits; the other options have the defaults of the
# class. LARS needs its eps so that its steps shrink with the gradient: without it, they stay equally long to the end.
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
# The settings if labels are numbers, where they differ: a squared error has steeper slopes than a cross-entropy.
FOR_NUMBERS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 0.02, "momentum": 0.9},
    "LARS": {"lr": 0.5},
    "Lookahead": {"lr": 0.02, "momentum": 0.9},
}

LOSSES: dict[str, Callable[..., Any]] = {
    name: getattr(functional, name) for name in ("cross_entropy", "mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss")
}

# The metrics in addition to the loss if labels are classes.
METRICS: dict[str, Metric] = {"accuracy": correct}

CLIPS: dict[str, Callable[..., clipping.Clip]] = {
    name: getattr(clipping, name) for name in ("by_global_norm", "by_norm", "by_value", "adaptive")
}

# Schedules that need other schedulers or a function cannot be written on a command line.
_NOT_AS_TEXT = {"LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler", "Scheduler", "Schedule"}
_NOT_AS_TEXT |= {"Lambda", "Multiplicative", "Function", "Join", "Hold", "Product", "Scale", "Shift"}


def schedules() -> dict[str, type[Scheduler] | type[ReduceLROnPlateau] | type[Schedule]]:
    """Return the schedulers with PyTorch's names, and the schedules."""
    found = {name: getattr(schedulers, name) for name in schedulers.__all__ if name not in _NOT_AS_TEXT}
    return {name: value for name, value in found.items() if isinstance(value, type)}


def optimizer_arguments(name: str) -> dict[str, inspect.Parameter]:
    """Return the options of an optimizer from the signature of its class; for Lookahead, of the inner SGD."""
    kind = optim.SGD if name == "Lookahead" else getattr(optim, name)
    return arguments_of(kind, ("params", "clip"))


@functools.cache
def hyper_parameters() -> dict[str, dict[str, Any]]:
    """Every hyper-parameter of every optimizer: by its name the default of each optimizer that has it."""
    found: dict[str, dict[str, Any]] = {}
    for optimizer in OPTIMIZERS:
        for name, parameter in optimizer_arguments(optimizer).items():
            found.setdefault(name, {})[optimizer] = parameter.default
    return found


def takes_tuple(option: str) -> bool:
    """Whether the value of a hyper-parameter is a tuple, as of ``betas``."""
    return any(isinstance(default, tuple) for default in hyper_parameters().get(option, {}).values())


def preset(optimizer: str, dataset: str) -> dict[str, float]:
    """Return the settings of an optimizer for a dataset."""
    table = FOR_NUMBERS if dataset.lower() in data.CURVES else {}
    return table.get(optimizer, OPTIMIZERS[optimizer])


def lookahead_arguments() -> dict[str, inspect.Parameter]:
    """Return the arguments of Lookahead itself."""
    return arguments_of(optim.Lookahead, ("optimizer",))


def schedule_arguments(name: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of a schedule, without functions."""
    return arguments_of(schedules()[name], ("optimizer", "last_epoch", "scale_fn"))


def data_arguments(name: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of a dataset."""
    return arguments_of(data.DATASETS[name], ("name", "kind"))


def loss_arguments(name: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of a loss, without the reduction: training needs the mean."""
    return arguments_of(LOSSES[name], ("x", "target", "weight", "reduction"))


def make_optimizer(name: str, parameters: Any, options: dict[str, Any], clip: list[clipping.Clip]) -> Optimizer:
    """Make an optimizer by its name; for Lookahead, the SGD inside."""
    kind = optim.SGD if name == "Lookahead" else getattr(optim, name)
    return kind(parameters, clip=clip or None, **options)
