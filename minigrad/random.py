"""The source of all random numbers: a NumPy generator that can be seeded, saved and restored.

>>> manual_seed(0)
>>> before = get_state()
>>> first = generator().standard_normal()
>>> set_state(before)
>>> bool(generator().standard_normal() == first)
True
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from .checks import whole

_generator = np.random.default_rng()


class _Local(threading.local):
    own: np.random.Generator | None = None  # of a thread in `own_generator`
    stand_in: Any = None  # what a thread that traces a step draws from, see minigrad.compiled


local = _Local()


def generator() -> np.random.Generator:
    """The generator that initializers, dropout and `minigrad.randn` use."""
    return _real() if local.stand_in is None else local.stand_in


def _real() -> np.random.Generator:
    return _generator if local.own is None else local.own


@contextlib.contextmanager
def own_generator() -> Iterator[None]:
    """A ``with`` block in which this thread has a generator of its own: it draws, seeds and saves only that one."""
    before, local.own = local.own, np.random.default_rng()
    try:
        yield
    finally:
        local.own = before


def manual_seed(seed: int) -> None:
    """Seed the generator.

    Raises:
        TypeError, ValueError: if it is not a whole number, or negative.
    """
    seed = whole("manual_seed", "the seed", seed, least=0)
    _real().bit_generator.state = np.random.default_rng(seed).bit_generator.state


def get_state() -> dict[str, Any]:
    """The state of the generator: a dictionary of names, numbers and dictionaries that JSON can store."""
    return dict(_real().bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Continue from a state that `get_state` returned.

    Raises:
        ValueError: if it is not such a state; the generator is unchanged.
    """
    trial = np.random.default_rng(0)
    try:
        trial.bit_generator.state = state
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"set_state: not a state of {type(trial.bit_generator).__name__}: {error}") from error
    _real().bit_generator.state = trial.bit_generator.state
