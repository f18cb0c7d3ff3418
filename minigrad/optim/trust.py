"""What LAMB and LARS share: which parameters are left out, and over which range a ratio is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.tensor import Tensor
from ..rules import Norm, norm

Predicate = Callable[[str, Tensor], bool]
SCOPES = ("tensor", "layer")


def vectors(name: str, parameter: Tensor) -> bool:
    """Leaves out parameters of one dimension or none: biases and gains."""
    return parameter.ndim <= 1


def nothing(name: str, parameter: Tensor) -> bool:
    """Leaves out no parameter."""
    return False


def check_trust(owner: str, scope: str, **predicates: Any) -> None:
    """Refuse an unknown scope, or a predicate that is no function."""
    if scope not in SCOPES:
        raise ValueError(f"{owner}: scope must be 'tensor' or 'layer', not {scope!r}")
    for name, predicate in predicates.items():
        if not callable(predicate):
            raise TypeError(f"{owner}: {name} must be a function of a name and a parameter, not {predicate!r}")


def adapted_norm(of: str, scope: str, name: str | None = None) -> Norm:
    """A norm over the parameters of the range that are adapted."""
    return norm(of, scope, name=name, where="adapted")
