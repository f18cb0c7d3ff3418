"""Schedules, pure functions from step to value, and schedulers, which set an optimizer's options to these values.

::

    scheduler = schedulers.CosineAnnealingLR(optimizer, T_max=100)                  # PyTorch's names
    schedule = schedulers.Join([schedulers.Warmup(5), schedulers.CosineAnnealing(95)], [5])
    schedulers.Scheduler(optimizer, schedule, option="weight_decay")                 # any option, any schedule
    scheduler.preview(100, "lr.png")                                                 # its curve, before training
"""

from . import plateau, schedule, scheduler, schedules, torch_names
from .plateau import *
from .schedule import *
from .scheduler import *
from .schedules import *
from .torch_names import *

__all__ = sorted([*plateau.__all__, *schedule.__all__, *scheduler.__all__, *schedules.__all__, *torch_names.__all__])
