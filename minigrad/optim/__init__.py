"""Optimizers: named chains of rules with PyTorch's constructors, and the building blocks of new ones."""

from ..rules import RuleError, exp, log, maximum, minimum, norm, rule, sign, sqrt
from ..rules.options import above, at_least, between, fixed, flag, number, one_of, option, tuple_of
from . import adam, adaptive, common, lookahead, sgd, trust
from .adam import *
from .adaptive import *
from .chain import Chain, chain
from .common import add_decayed_weights, apply_update, decay_weights
from .lookahead import Lookahead
from .meaning import Meaning
from .optimizer import Optimizer
from .sgd import *
from .trust import *

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
    "Meaning",
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
    "fixed",
    "flag",
    "log",
    "maximum",
    "minimum",
    "norm",
    "number",
    "one_of",
    "option",
    "rule",
    "sign",
    "sqrt",
    "tuple_of",
]
