"""Layers, losses and initializers, with PyTorch's names, arguments, defaults and numbers.

Two things differ: an axis is ``axis``, NumPy's word, where PyTorch has ``dim`` (Softmax, LogSoftmax), and what PyTorch
only warns about is an error.
"""

from . import (
    activations,
    containers,
    functional,
    init,
    layers,
    losses,
    module,
    normalization,
    parameter,
    recurrent,
    utils,
)
from .activations import *
from .containers import *
from .inspection import summary
from .layers import *
from .losses import *
from .module import *
from .normalization import *
from .parameter import *
from .recurrent import *
from .summary import Summary

__all__ = [
    "Summary",
    *activations.__all__,
    *containers.__all__,
    "functional",
    "init",
    *layers.__all__,
    *losses.__all__,
    *module.__all__,
    *normalization.__all__,
    *parameter.__all__,
    *recurrent.__all__,
    "summary",
    "utils",
]
