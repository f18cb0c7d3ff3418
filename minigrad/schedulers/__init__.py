"""Schedules, pure functions from step to value, and schedulers, which give an optimizer's options these values.

::

    scheduler = schedulers.CosineAnnealingLR(optimizer, T_max=100)                  # PyTorch's names
    schedule = schedulers.Join([schedulers.Warmup(5), schedulers.CosineAnnealing(95)], [5])
    schedulers.Scheduler(optimizer, schedule, option="weight_decay")                 # any option, any schedule
    scheduler.preview(100, "lr.png")                                                 # its curve, before training
"""

from .combined import ChainedScheduler, SequentialLR
from .compose import Hold, Join, Product, Scale, Shift
from .cosine import CosineAnnealing, WarmRestarts
from .cycles import CyclicLR, OneCycleLR
from .cyclic import Cyclic, OneCycle
from .decay import (
    Constant,
    Exponential,
    ExponentialRate,
    Lambda,
    Linear,
    Multiplicative,
    MultiStep,
    Polynomial,
    StepDecay,
)
from .named import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau
from .schedule import Function, Schedule
from .scheduler import Scheduler
from .warmup import InverseSqrt, Warmup, WarmupStableDecay

__all__ = [
    "ChainedScheduler",
    "Constant",
    "ConstantLR",
    "CosineAnnealing",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "Cyclic",
    "CyclicLR",
    "Exponential",
    "ExponentialLR",
    "ExponentialRate",
    "Function",
    "Hold",
    "InverseSqrt",
    "Join",
    "Lambda",
    "LambdaLR",
    "Linear",
    "LinearLR",
    "MultiStep",
    "MultiStepLR",
    "Multiplicative",
    "MultiplicativeLR",
    "OneCycle",
    "OneCycleLR",
    "Polynomial",
    "PolynomialLR",
    "Product",
    "ReduceLROnPlateau",
    "Scale",
    "Schedule",
    "Scheduler",
    "SequentialLR",
    "Shift",
    "StepDecay",
    "StepLR",
    "WarmRestarts",
    "Warmup",
    "WarmupStableDecay",
]
