"""Whether operations are recorded: ``no_grad``, ``enable_grad`` and ``set_grad_enabled``."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..checks import flag


class _Mode(threading.local):
    def __init__(self) -> None:
        self.enabled = True
        # The mode before each block that this thread is in. The context managers do not keep it, because several
        # threads may call a function that is decorated with one of them.
        self.entered: list[tuple[object, bool]] = []


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return mode.enabled


class Block:
    """A ``with`` block that also works as a decorator."""

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *error: object) -> None:
        raise NotImplementedError

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function, or a generator function, each step of which then runs in the mode."""
        name = type(self).__name__
        if inspect.isclass(function) or not callable(function):
            remedy = "; decorate its methods one by one" if inspect.isclass(function) else ""
            raise TypeError(f"{name}: decorates functions, not {function!r}{remedy}")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{name}: cannot decorate an async function; write 'with {name}():' around code without await"
            )

        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        @functools.wraps(function)
        def steps_in_mode(*args: Any, **kwargs: Any) -> Iterator[Any]:
            return (yield from _Steps(self, function(*args, **kwargs)))

        return steps_in_mode if inspect.isgeneratorfunction(function) else in_mode


class _Steps:
    """A generator that runs in a mode, while the code that iterates over it does not."""

    def __init__(self, block: Block, generator: Any) -> None:
        self._mode, self._generator = block, generator

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        with self._mode:
            return next(self._generator)

    def send(self, value: Any) -> Any:
        with self._mode:
            return self._generator.send(value)

    def throw(self, *error: Any) -> Any:
        with self._mode:
            return self._generator.throw(*error)

    def close(self) -> None:
        with self._mode:
            self._generator.close()


class _GradMode(Block):
    """A block that sets the mode."""

    _enabled: bool

    def __enter__(self) -> None:
        mode.entered.append((self, mode.enabled))
        mode.enabled = self._enabled

    def __exit__(self, *error: object) -> None:
        # Usually the last one, unless generators leave their blocks in another order than they entered them.
        for i in reversed(range(len(mode.entered))):
            if mode.entered[i][0] is self:
                mode.enabled = mode.entered.pop(i)[1]
                return


class set_grad_enabled(_GradMode):  # noqa: N801 - named as in PyTorch
    """Turn recording on or off in this thread: from now on as a statement, or within a ``with`` block or function.

    >>> x = minigrad.ones(2, requires_grad=True)
    >>> with minigrad.set_grad_enabled(False):
    ...     y = 2 * x
    >>> y.requires_grad
    False
    """

    def __init__(self, enabled: bool) -> None:
        self._enabled = flag(self, "enabled", enabled)
        self._before: bool | None = mode.enabled  # None once it is used as a block or a decorator
        mode.enabled = enabled

    def __enter__(self) -> None:
        self._take_back()
        super().__enter__()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function; the mode then applies only inside the function."""
        self._take_back()
        return super().__call__(function)

    def _take_back(self) -> None:
        if self._before is not None:
            mode.enabled, self._before = self._before, None


class _FixedMode(_GradMode):
    """A mode that can decorate with or without parentheses."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)


class no_grad(_FixedMode):  # noqa: N801 - named as in PyTorch
    """Record nothing inside a ``with`` block or a decorated function; results have ``requires_grad=False``."""

    _enabled = False


class enable_grad(_FixedMode):  # noqa: N801 - named as in PyTorch
    """Record again inside an outer `no_grad`."""

    _enabled = True
