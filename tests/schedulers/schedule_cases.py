"""The grid of arguments on which schedulers are compared: stored values, PyTorch live, closed forms, minigrad.

A case is a scheduler's name with arguments that both libraries take. `trajectory` runs it on either of them, because
minigrad has PyTorch's names: each row is the learning rate of every group, and the momentum where it is scheduled.

A new schedule needs an entry of `examples`, a new scheduler one of `MAKERS`, and cases for a comparison with PyTorch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

__all__ = ["CASES", "MAKERS", "STEPS", "Case", "case_named", "examples", "trajectory"]

STEPS = 300


def wobble(step):
    return 0.8 + 0.1 * math.sin(step)


def nearly_one(step):
    return 0.99 if step % 3 else 1.01


def halving(cycle):
    return 0.5**cycle


@dataclass(frozen=True)
class Case:
    """One run. `here` are arguments that only minigrad has; `metrics` are for ReduceLROnPlateau."""

    name: str
    scheduler: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    here: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = (0.1,)
    optimizer: str = "SGD"
    parts: tuple["Case", ...] = ()
    metrics: tuple[float, ...] = ()

    @property
    def momentum(self) -> str | None:
        cycles = {"CyclicLR", "OneCycleLR"} & {self.scheduler, *(part.scheduler for part in self.parts)}
        if cycles and self.arguments.get("cycle_momentum", True):
            return "betas" if self.optimizer == "Adam" else "momentum"
        return None


def grid(scheduler: str, **arguments: Any) -> list[Case]:
    """A case for each combination of the values."""
    cases = []
    for values in product(*arguments.values()):
        chosen = dict(zip(arguments, values, strict=True))
        words = [f"{name}={getattr(value, '__name__', value)}".replace(" ", "") for name, value in chosen.items()]
        cases.append(Case("-".join([scheduler, *words]), scheduler, chosen))
    return cases


def repeating(cases: list[Case]) -> list[Case]:
    return [Case(case.name, case.scheduler, case.arguments, {"repeat": True}) for case in cases]


def composed(name: str, scheduler: str, parts: list[tuple[str, dict[str, Any]]], **arguments: Any) -> Case:
    made = tuple(Case(kind, kind, given) for kind, given in parts)
    return Case(f"{scheduler}-{name}", scheduler, arguments, parts=made)


def plateau(name: str, metrics: list[float], rates: tuple[float, ...] = (0.1,), **arguments: Any) -> Case:
    return Case(f"ReduceLROnPlateau-{name}", "ReduceLROnPlateau", arguments, rates=rates, metrics=tuple(metrics))


# A scheduler of every name, for an optimizer with two param groups; both libraries take these arguments.
MAKERS = {
    "StepLR": lambda S, o: S.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda S, o: S.MultiStepLR(o, [2, 5], 0.3),
    "ConstantLR": lambda S, o: S.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda S, o: S.LinearLR(o, 0.25, 1.0, 6),
    "ExponentialLR": lambda S, o: S.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda S, o: S.PolynomialLR(o, 30, 2.0),
    "CosineAnnealingLR": lambda S, o: S.CosineAnnealingLR(o, 30),
    "CosineAnnealingLR-floor": lambda S, o: S.CosineAnnealingLR(o, 30, 0.003),
    "CosineAnnealingWarmRestarts": lambda S, o: S.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "LambdaLR": lambda S, o: S.LambdaLR(o, lambda t: 0.9**t),
    "MultiplicativeLR": lambda S, o: S.MultiplicativeLR(o, lambda t: 0.95),
    "CyclicLR": lambda S, o: S.CyclicLR(o, 0.01, 0.2, 4),
    "OneCycleLR": lambda S, o: S.OneCycleLR(o, 0.5, 40),
    "SequentialLR": lambda S, o: S.SequentialLR(o, [S.LinearLR(o, 0.2, 1.0, 5), S.ExponentialLR(o, 0.9)], [5]),
    "ChainedScheduler": lambda S, o: S.ChainedScheduler([S.LinearLR(o, 0.2, 1.0, 5), S.ExponentialLR(o, 0.9)]),
}


def examples(S):
    """A schedule of every kind; the schedules are minigrad's own."""
    return [
        S.StepDecay(7),
        S.MultiStep([3, 9]),
        S.Exponential(0.9),
        S.ExponentialRate(0.1),
        S.Constant(),
        S.Linear(),
        S.Polynomial(20, 2.0),
        S.CosineAnnealing(30, 0.1),
        S.WarmRestarts(4, 3),
        S.Lambda(math.cos),
        S.Multiplicative(lambda t: 0.9 + t / 100),
        S.Cyclic(0.1, 1.0, 4, 3, mode="exp_range", gamma=0.9),
        S.OneCycle(0.1, 1.0, 0.01, 40),
        S.Warmup(6, "cosine"),
        S.InverseSqrt(9),
        S.WarmupStableDecay(3, 9, 10, decay="sqrt"),
        S.Join([S.Warmup(3), S.Exponential(0.8)], [3]),
        S.Product([S.Warmup(3), S.Exponential(0.8)]),
        S.Shift(S.Exponential(0.8), 4),
        S.Scale(S.Exponential(0.8), 0.5),
        S.Hold(S.Exponential(0.8), 4),
        S.Function(math.sqrt),
    ]


FALLING = [max(1 / (1 + step / 10), 0.15) + 0.02 * math.sin(2.5 * step) for step in range(STEPS)]
# Above 0: PyTorch's margin is on the wrong side of a negative best.
RISING = [2 - value for value in FALLING]
HOLES = [math.nan if step % 11 == 5 else value for step, value in enumerate(FALLING)]

CASES = [
    *grid("StepLR", step_size=[1, 7, 30], gamma=[0.1, 0.9]),
    *grid("MultiStepLR", milestones=[[30, 80], [1, 2, 3, 150], [0, 5], [10, 10, 20], []], gamma=[0.1, 0.5]),
    *grid("ConstantLR", factor=[1 / 3, 0.5, 1.0], total_iters=[1, 5, 40]),
    *grid("LinearLR", start_factor=[1 / 3, 0.01, 1.0], end_factor=[1.0, 0.25], total_iters=[1, 5, 100]),
    *grid("ExponentialLR", gamma=[0.9, 0.99, 1.0]),
    *grid("PolynomialLR", total_iters=[1, 5, 120, 400], power=[1.0, 2.0, 0.5]),
    *repeating(grid("CosineAnnealingLR", T_max=[1, 10, 75, 400], eta_min=[0.0, 0.01])),
    *grid("CosineAnnealingWarmRestarts", T_0=[1, 10, 37], T_mult=[1, 2, 3], eta_min=[0.0, 0.01]),
    *grid("LambdaLR", lr_lambda=[wobble, nearly_one]),
    *grid("MultiplicativeLR", lr_lambda=[wobble, nearly_one]),
    *grid("CyclicLR", base_lr=[0.01], max_lr=[0.5], step_size_up=[4, 20], mode=["triangular", "triangular2"]),
    *grid("CyclicLR", base_lr=[0.01], max_lr=[0.5], step_size_up=[5], step_size_down=[3, 12], mode=["triangular2"]),
    *grid("CyclicLR", base_lr=[0.01], max_lr=[0.5], step_size_up=[9], mode=["exp_range"], gamma=[0.99]),
    *grid("CyclicLR", base_lr=[0.01], max_lr=[0.5], step_size_up=[6], scale_fn=[halving, wobble]),
    *grid("CyclicLR", base_lr=[0.01], max_lr=[0.5], step_size_up=[6], scale_fn=[wobble], scale_mode=["iterations"]),
    *grid("CyclicLR", base_lr=[0.01], max_lr=[0.5], step_size_up=[6], cycle_momentum=[False]),
    *grid(
        "OneCycleLR",
        max_lr=[0.5],
        total_steps=[300],
        pct_start=[0.3, 0.45],
        anneal_strategy=["cos", "linear"],
        three_phase=[False, True],
    ),
    *grid("OneCycleLR", max_lr=[0.5], epochs=[20], steps_per_epoch=[16], pct_start=[0.0, 1.0]),
    *grid("OneCycleLR", max_lr=[0.5], total_steps=[301], div_factor=[10.0], final_div_factor=[3.0]),
    *grid("OneCycleLR", max_lr=[0.5], total_steps=[300], cycle_momentum=[False]),
    Case("OneCycleLR-adam", "OneCycleLR", {"max_lr": [0.5, 0.2], "total_steps": 300}, {}, (0.1, 0.03), "Adam"),
    Case(
        "CyclicLR-adam",
        "CyclicLR",
        {"base_lr": [0.01, 0.02], "max_lr": 0.3, "step_size_up": 7, "base_momentum": [0.7, 0.6]},
        {},
        (0.1, 0.03),
        "Adam",
    ),
    Case("LambdaLR-groups", "LambdaLR", {"lr_lambda": [wobble, halving]}, {}, (0.1, 0.03)),
    Case("StepLR-groups", "StepLR", {"step_size": 10}, {}, (0.1, 0.03)),
    composed(
        "warmup-exponential",
        "SequentialLR",
        [("ConstantLR", {"factor": 0.1, "total_iters": 20}), ("ExponentialLR", {"gamma": 0.99})],
        milestones=[20],
    ),
    composed(
        "linear-restarts-step",
        "SequentialLR",
        [
            ("LinearLR", {"start_factor": 0.1, "total_iters": 10}),
            ("CosineAnnealingWarmRestarts", {"T_0": 10, "T_mult": 2}),
            ("StepLR", {"step_size": 15, "gamma": 0.5}),
        ],
        milestones=[10, 100],
    ),
    composed(
        "linear-lambda-polynomial",
        "SequentialLR",
        [
            ("LinearLR", {"start_factor": 0.2, "total_iters": 7}),
            ("LambdaLR", {"lr_lambda": wobble}),
            ("PolynomialLR", {"total_iters": 50, "power": 2.0}),
        ],
        milestones=[7, 150],
    ),
    composed(
        "onecycle-exponential",
        "SequentialLR",
        [("OneCycleLR", {"max_lr": 0.5, "total_steps": 50}), ("ExponentialLR", {"gamma": 0.98})],
        milestones=[40],
    ),
    composed(
        "exponential-cyclic",
        "SequentialLR",
        [
            ("ExponentialLR", {"gamma": 0.9}),
            ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5}),
        ],
        milestones=[30],
    ),
    composed(
        "constant-exponential",
        "ChainedScheduler",
        [("ConstantLR", {"factor": 0.1, "total_iters": 20}), ("ExponentialLR", {"gamma": 0.99})],
    ),
    composed(
        "step-linear-cosine",
        "ChainedScheduler",
        [
            ("StepLR", {"step_size": 40, "gamma": 0.7}),
            ("LinearLR", {"start_factor": 0.25, "total_iters": 30}),
            ("CosineAnnealingLR", {"T_max": 400}),
        ],
    ),
    plateau("defaults", FALLING),
    plateau("max", RISING, mode="max", patience=3, factor=0.5),
    plateau("abs", FALLING, threshold_mode="abs", threshold=0.01, patience=2, cooldown=4, factor=0.3),
    plateau("abs-max", RISING, mode="max", threshold_mode="abs", threshold=0.01, patience=0, factor=0.7, eps=1e-4),
    plateau("min-rates", FALLING, rates=(0.1, 0.03), patience=1, factor=0.5, min_lr=[0.001, 0.01]),
    plateau("nan", HOLES, patience=1, factor=0.6),
]


def case_named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def trajectory(case: Case, optim: Any, schedulers: Any, parameter: Any, here: bool) -> np.ndarray:
    """The options of every group at each of `STEPS` steps, as one library computes them.

    Args:
        optim: the module of optimizers.
        schedulers: the module of schedulers.
        parameter: makes a parameter.
        here: whether it is minigrad.
    """
    momentum = {"momentum": 0.9} if case.optimizer == "SGD" else {}
    groups = [{"params": [parameter()], "lr": rate} for rate in case.rates]
    optimizer = getattr(optim, case.optimizer)(groups, lr=1.0, **momentum)

    def make(of: Case) -> Any:
        made = getattr(schedulers, of.scheduler)
        if of.scheduler == "ChainedScheduler":
            return made([make(part) for part in of.parts])
        arguments = {**of.arguments, **(of.here if here else {})}
        if of.parts:
            arguments["schedulers"] = [make(part) for part in of.parts]
        return made(optimizer, **arguments)

    scheduler = make(case)
    rows = []
    for step in range(STEPS):
        row = [group["lr"] for group in optimizer.param_groups]
        if case.momentum is not None:
            row += [np.ravel(group[case.momentum])[0] for group in optimizer.param_groups]
        rows.append(row)
        optimizer.step()
        if case.metrics:
            scheduler.step(case.metrics[step])
        elif step < STEPS - 1:
            scheduler.step()
    return np.array(rows, dtype=np.float64)
