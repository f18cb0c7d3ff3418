"""Optimizers: named chains of rules with PyTorch's constructors, and the building blocks of new ones."""

from ..rules import RuleError, exp, log, maximum, minimum, norm, rule, sign, sqrt
from ..rules.options import above, at_least, between, fixed, flag, number, one_of, option, tuple_of
from . import adam, adaptive, common, lookahead, sgd, trust
from .adam import *
from .adaptive import *
from .chain import Chain, chain
from .common import *
from .lookahead import *
from .meaning import Meaning
from .optimizer import Optimizer
from .sgd import *
from .trust import *

__all__ = [
    "Chain", "Meaning", "Optimizer", "RuleError", "chain", "norm", "rule",
    "exp", "log", "maximum", "minimum", "sign", "sqrt",  # functions that a rule may call
    "above", "at_least", "between", "fixed", "flag", "number", "one_of", "option", "tuple_of",  # to declare options
    *adam.__all__, *adaptive.__all__, *common.__all__, *lookahead.__all__, *sgd.__all__, *trust.__all__,
]  # fmt: skip  # by subject
