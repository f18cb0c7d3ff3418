"""Small optimizers, and what a scheduler does to them."""

import copy
import json

import numpy as np

from minigrad import nn, optim


def parameter(size=3):
    return nn.Parameter(np.ones(size))


def sgd(*rates, **options):
    groups = [{"params": [parameter()], "lr": rate} for rate in rates or (0.1,)]
    return optim.SGD(groups, **{"momentum": 0.9, **options})


def options_of(optimizer):
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def follow(optimizer, scheduler, steps, option="lr"):
    values = []
    for _ in range(steps):
        values.append([group[option] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return np.array(values)


def everything(scheduler):
    optimizer = scheduler.optimizer
    own = {k: v for k, v in vars(scheduler).items() if k not in ("optimizer", "schedules", "_options", "_restarts")}
    state = json.dumps(optimizer.state_dict(), default=np.ndarray.tolist)
    return copy.deepcopy((own, options_of(optimizer), state, repr(scheduler)))
