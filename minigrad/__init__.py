"""minigrad: a deep-learning framework small enough to read.

A tensor with reverse-mode automatic differentiation, layers that provide parameters, and optimizers whose update
rules are written once and compiled by Numba. Importing it loads only NumPy: Numba is loaded by the first optimizer
step, matplotlib by the first picture, and `minigrad.schedulers`, `minigrad.study` and `minigrad.training` on first use.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import clipping, data, nn, ops, optim, random
from ._version import __version__ as __version__
from .autograd.creation import (
    arange,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    zeros,
    zeros_like,
)
from .autograd.gradients import grad
from .autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .autograd.tensor import Tensor, tensor
from .derivatives import hessian, hvp, jacobian, value_and_grad
from .gradcheck import GradientError, check_gradients
from .kernels.threads import get_num_threads, set_num_threads
from .nn.utils import functional_call
from .ops.activation import erfc, relu, sigmoid
from .ops.elementwise import *
from .ops.indexing import gather, take
from .ops.linalg import *
from .ops.neural import log_softmax, logsumexp, softmax
from .ops.reduction import *
from .ops.shape import *
from .random import manual_seed

if TYPE_CHECKING:
    from . import schedulers, study, training
    from .compiled import compile

__all__ = [
    "GradientError",
    "Tensor",
    "arange",
    "check_gradients",
    "clipping",
    "compile",
    "data",
    "enable_grad",
    "erfc",
    "eye",
    "full",
    "full_like",
    "functional_call",
    "gather",
    "get_num_threads",
    "grad",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "linspace",
    "log_softmax",
    "logsumexp",
    "manual_seed",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "ops",
    "optim",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "random",
    "relu",
    "schedulers",
    "set_grad_enabled",
    "set_num_threads",
    "sigmoid",
    "softmax",
    "study",
    "take",
    "tensor",
    "training",
    "value_and_grad",
    "zeros",
    "zeros_like",
]
__all__ += ops.elementwise.__all__
__all__ += ops.linalg.__all__
__all__ += ops.reduction.__all__
__all__ += ops.shape.__all__

_ON_FIRST_USE = ("compile", "schedulers", "study", "training")


def __getattr__(name: str) -> Any:
    if name == "compile":
        return import_module(f"{__name__}.compiled").compile
    if name in _ON_FIRST_USE:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
