"""Effects: the kernels of optimizers and clips, which a compiled step runs between its own parts."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from ..kernels.layout import NotSerialError
from ..kernels.native import NotNativeError, native_calls
from .runtime import KERNELS, kernel_runner
from .trace import Ran

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


class Effect:
    """The kernels of one update: called by address, or through Python where that is not possible.

    Args:
        ran: the update, as it ran in the trace.
        python: why Python has to call the kernels in any case; empty if it does not.
        calls: the functions that Python has to call before the update; it calls the kernels then.

    Attributes:
        update, parameters, calls: as given.
        layout: the layout that is bound.
        presence: which gradients are present when the update begins, if these are not all; set by `Bound`.
        reason: why Python has to call the kernels; empty if it does not.
        words: of `minigrad.compiled.runtime.KERNELS`.
        noted: if Python calls the kernels, `Layout.numbers` after each call are added to this list, if it is one.
        function, argument: what the program calls: an address, and the word it is given.
    """

    def __init__(self, ran: Ran, python: str, calls: Sequence[Callable[[], Any]]) -> None:
        self.update, self.parameters, self.calls, self._python = ran.update, ran.parameters, calls, python
        self.presence: list[tuple[Any, bool]] = []
        self.error: BaseException | None = None
        self.noted: list[Any] | None = None
        self._serial: Any = None
        self._stepped: Any = None
        self._callback = _CALLBACK(self._run)
        self.bind(ran.layout)

    def bind(self, layout: Any) -> None:
        """Call the kernels of this layout from now on."""
        self.layout, self.reason = layout, ""
        try:
            if self._python:
                raise NotSerialError(self._python)
            self._serial = layout.serial_calls()
            self._native = native_calls(layout)
            self.function, self.words = kernel_runner(self._native)
            self._status = memoryview(self.words)  # type: ignore[arg-type]  # NumPy's stubs lack the buffer protocol
            policies = {norm.nonfinite for norm in layout.plan.norms}
            self.words[KERNELS.index("ends")] = "raise" in policies
            self.argument = self.words.ctypes.data
        except (NotNativeError, NotSerialError) as error:
            self.reason = str(error)
            self.function, self.argument = ctypes.cast(self._callback, ctypes.c_void_p).value or 0, 0

    def _is_serial(self) -> bool:
        """Whether the layout would still make the calls that are bound."""
        try:
            return bool(self.layout.serial_calls() is self._serial)
        except NotSerialError:
            return False

    def begin(self) -> bool:
        """Prepare the update; whether the program calls what it did before."""
        if self.reason:
            return True
        self._stepped = getattr(self.update, "stepped", None)
        layout = self._begin_update() if self.presence else self.update.begin_update()
        if layout is self.layout and self._is_serial():
            return True
        self.bind(layout)
        return False

    def undo(self) -> None:
        """Take `begin` back."""
        if not self.reason and self._stepped is not None:
            self.update.stepped = self._stepped

    def _begin_update(self) -> Any:
        for kept, present in self.presence:
            kept.tensor._grad = kept.grad if present else None
        return self.update.begin_update()

    def end(self) -> None:
        """Account for the update."""
        if self.reason:
            return
        status = self._status[0]
        self.update.end_update(self.layout, self.layout.plan.norms[status - 1] if status else None)

    def _run(self, _: int) -> int:
        try:
            for call in self.calls:
                call()
            layout = self._begin_update()
            self.update.end_update(layout, layout.run())
            if self.noted is not None:
                self.noted.append(layout.numbers.copy())
        except BaseException as error:
            self.error = error
            return 1
        return 0
