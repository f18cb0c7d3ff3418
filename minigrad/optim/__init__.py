"""Optimizers: named chains of rules with PyTorch's constructors, and what a new one is made of."""

from ..rules import RuleError, exp, log, maximum, minimum, norm, rule, sign, sqrt
from ..rules.options import above, at_least, between, flag, number, option, tuple_of
from .adabelief import AdaBelief
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam
from .adamax import Adamax
from .adamw import AdamW
from .chain import Chain, chain
from .common import add_decayed_weights, apply_update, decay_weights
from .lamb import LAMB
from .lars import LARS
from .lion import Lion
from .lookahead import Lookahead
from .nadam import NAdam
from .optimizer import Optimizer
from .radam import RAdam
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "LAMB",
    "LARS",
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Chain",
    "Lion",
    "Lookahead",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "RuleError",
    "above",
    "add_decayed_weights",
    "apply_update",
    "at_least",
    "between",
    "chain",
    "decay_weights",
    "exp",
    "flag",
    "log",
    "maximum",
    "minimum",
    "norm",
    "number",
    "option",
    "rule",
    "sign",
    "sqrt",
    "tuple_of",
]
