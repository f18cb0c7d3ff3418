"""`check_gradients`: are the gradients of a function those that its values imply?

The gradient rules are compared with numbers that need no rule. Where everything that was recorded is complex
differentiable and takes complex numbers, that is the complex step, Im f(x + ih)/h with h = 1e-20, which has no
cancellation (Squire and Trapp 1998); elsewhere the central difference (f(x + h) - f(x - h))/2h.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import devices
from .arrays import Array
from .autograd import grad
from .graph import collect
from .tensor import Tensor, edge_of

_COMPLEX_STEP = 1e-20
# The cube root of float64's resolution balances the truncation and the cancellation of a central difference.
_STEP = 6e-6
_TOLERANCES = {"complex step": (1e-8, 1e-10), "central difference": (1e-5, 1e-7)}

Outputs = list[Tensor]
Function = Callable[[list[Tensor]], Outputs]


class GradientError(AssertionError):
    """Raised by `check_gradients` when a gradient is wrong; ``report`` has the figures."""

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Entry:
    """The entry of one input's gradient that differs most from its numeric value.

    ``kink`` has the slopes to the left and to the right where the difference straddles a kink. There any gradient
    between the two is right, so ``ok`` only asks for that.
    """

    position: int
    order: int
    method: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    ok: bool
    kink: tuple[float, float] | None = None

    @property
    def error(self) -> float:
        """The size of the difference."""
        return abs(self.analytic - self.numeric)

    def __str__(self) -> str:
        text = (
            f"{'ok   ' if self.ok else 'WRONG'} input {self.position}, order {self.order}: worst at {self.index}: "
            f"analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, error {self.error:.2e} ({self.method})"
        )
        if self.kink:
            text += f"; straddles a kink with slopes {self.kink[0]:.6g} and {self.kink[1]:.6g}"
        return text


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found: an `Entry` for each input and order. True if all gradients are right."""

    entries: tuple[Entry, ...]

    @property
    def ok(self) -> bool:
        """Whether all gradients are right."""
        return all(entry.ok for entry in self.entries)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join([f"gradients are {'right' if self.ok else 'wrong'}", *map(str, self.entries)])


def check_gradients(
    f: Callable[..., Any],
    inputs: Any,
    *,
    order: int = 2,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    raise_exception: bool = True,
) -> GradientReport:
    """Compare the gradients of ``f`` with differences of its values, in float64.

    The outputs are weighted by random numbers, so that errors that cancel in a plain sum are seen. For the second
    order the same comparison is made with the gradient in place of ``f``. Inputs on a GPU are moved there and the
    outputs back each time, so what runs there is checked.

    Args:
        f: a function of tensors that returns a tensor or a tuple of them. It must be deterministic.
        inputs: the arguments of ``f``: a tensor, an array, or a sequence of them. Those of a float dtype are
            converted to float64 copies and checked; others are passed on as they are.
        order: 1 for gradients, 2 for gradients of gradients also.
        rtol, atol: the largest error is ``atol`` + ``rtol`` · |value|; by default 1e-8 and 1e-10 for complex steps,
            1e-5 and 1e-7 for differences.
        seed: of the random weights.
        raise_exception: raise where a gradient is wrong, rather than only report it.

    Returns:
        A report with the worst entry for each input and order.

    Raises:
        GradientError: if a gradient is wrong.
        ValueError: if ``f`` gives other values when called again, or none that depends on an input.
    """
    if order not in (1, 2):
        raise ValueError(f"check_gradients: order must be 1 or 2, not {order!r}")
    given = [inputs] if isinstance(inputs, Tensor) or devices.is_array(inputs) else list(inputs)
    arrays = [devices.to_host(x.data if isinstance(x, Tensor) else x) for x in given]
    homes = [devices.device_of(x.data if isinstance(x, Tensor) else x) for x in given]
    checked = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    if not checked:
        raise ValueError("check_gradients: no input is of a float dtype, so there is nothing to check")

    def values(tensors: list[Tensor]) -> Outputs:
        arguments: list[Any] = list(given)
        for i, tensor in zip(checked, tensors, strict=True):
            arguments[i] = tensor.to(homes[i])
        result = f(*arguments)
        return [y.cpu() for y in ([result] if isinstance(result, Tensor) else result)]

    function: Function = values
    points = [arrays[i].astype(np.float64) for i in checked]
    rng = np.random.default_rng(seed)
    entries, analytic = [], True
    for level in range(1, order + 1):
        weights = [rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1, 1], y.shape) for y in function(_leaves(points))]
        # A gradient's values depend on everything that was recorded for the function itself.
        analytic = analytic and all(
            n.primitive.analytic for n in collect({edge_of(y) for y in function(_leaves(points))})
        )
        entries += _compare(function, points, weights, checked, level, analytic, rtol, atol)
        function = _gradient_of(function, weights)
    report = GradientReport(tuple(entries))
    if raise_exception and not report.ok:
        raise GradientError(report)
    return report


def _leaves(points: Sequence[Array]) -> list[Tensor]:
    # Not by Tensor(point), which refuses the complex numbers of a complex step.
    return [Tensor._make(point.copy()).requires_grad_() for point in points]


def _gradient_of(function: Function, weights: Sequence[Array]) -> Function:
    """The function that gives the gradients of ``function``, themselves differentiable."""
    return lambda tensors: _differentiate(function(tensors), tensors, weights, create_graph=True)


def _differentiate(outputs: Outputs, tensors: list[Tensor], weights: Sequence[Array], create_graph: bool) -> Outputs:
    """The gradients of the weighted outputs; zeros for what they do not depend on."""
    pairs = [(y, w) for y, w in zip(outputs, weights, strict=True) if y.requires_grad]
    if not pairs:
        return [Tensor._make(np.zeros_like(x.data)) for x in tensors]
    found = grad([y for y, _ in pairs], tensors, [w for _, w in pairs], create_graph=create_graph, allow_unused=True)
    return [Tensor._make(np.zeros_like(x.data)) if g is None else g for x, g in zip(tensors, found, strict=True)]


def _compare(
    function: Function,
    points: list[Array],
    weights: list[Array],
    positions: list[int],
    order: int,
    analytic: bool,
    rtol: float | None,
    atol: float | None,
) -> list[Entry]:
    """The worst entry for each input."""
    tensors = _leaves(points)
    outputs = function(tensors)
    if order == 1 and not any(y.requires_grad for y in outputs):
        raise ValueError("check_gradients: no output depends on an input through recorded operations")
    again = function(_leaves(points))
    if not all(np.array_equal(y.data, z.data, equal_nan=True) for y, z in zip(outputs, again, strict=True)):
        raise ValueError("check_gradients: the function gave other values when called again; seed it inside")
    gradients = [g.data for g in _differentiate(outputs, tensors, weights, create_graph=False)]

    def value(changed: list[Array]) -> Any:
        total = sum(np.sum(y.data * w) for y, w in zip(function(_leaves(changed)), weights, strict=True))
        return total if np.iscomplexobj(total) else float(total)

    analytic = analytic and _takes_complex(value, points)
    method = "complex step" if analytic else "central difference"
    limits = _TOLERANCES[method]
    rtol, atol = limits[0] if rtol is None else rtol, limits[1] if atol is None else atol
    entries = []
    for i, point in enumerate(points):
        worst, severity = None, -1.0
        for index in np.ndindex(point.shape):
            along = _Line(value, points, i, index)
            exact = float(gradients[i][index])
            numeric = along.complex_step() if analytic else along.central()
            error = abs(exact - numeric)
            ok, kink = bool(error <= atol + rtol * abs(numeric)), None
            if not ok and not analytic:
                kink = along.kink(error)
                margin = atol + rtol * abs(numeric)
                ok = kink is not None and min(kink) - margin <= exact <= max(kink) + margin
            rank = np.inf if np.isnan(error) else error + (0 if ok else 1e300)
            if rank > severity:
                worst, severity = Entry(positions[i], order, method, index, exact, numeric, ok, kink), rank
        if worst is not None:
            entries.append(worst)
    return entries


def _takes_complex(value: Callable[[list[Array]], Any], points: list[Array]) -> bool:
    """Whether the function carries complex numbers through; one that makes real copies of its own does not."""
    try:
        with warnings.catch_warnings(action="error", category=np.exceptions.ComplexWarning):
            value([point.astype(np.complex128) for point in points])
    except (TypeError, np.exceptions.ComplexWarning):
        return False
    return True


class _Line:
    """The function along one entry of one input."""

    def __init__(
        self, value: Callable[[list[Array]], Any], points: list[Array], which: int, index: tuple[int, ...]
    ) -> None:
        self._value, self._points, self._which, self._index = value, points, which, index
        self._step = _STEP * max(1.0, abs(float(points[which][index])))

    def _at(self, offset: complex) -> Any:
        points = list(self._points)
        if isinstance(offset, complex):
            points = [p.astype(np.complex128) for p in points]
        else:
            points[self._which] = points[self._which].copy()
        points[self._which][self._index] += offset
        return self._value(points)

    def complex_step(self) -> float:
        return float(np.imag(self._at(complex(0, _COMPLEX_STEP))) / _COMPLEX_STEP)

    def central(self) -> float:
        return float(self._at(self._step) - self._at(-self._step)) / (2 * self._step)

    def _slopes(self, step: float) -> tuple[float, float]:
        middle = self._at(0.0)
        return float(middle - self._at(-step)) / step, float(self._at(step) - middle) / step

    def kink(self, error: float) -> tuple[float, float] | None:
        """The slopes on both sides if they explain an error of this size.

        The slopes of a smooth function differ in proportion to the step; across a kink they differ by the same
        whatever the step, or not at all once the step is too small to reach it. Across a jump, as a gradient makes
        at a kink, they grow as the step shrinks, so that they say nothing.
        """
        wide, narrow = self._slopes(self._step), self._slopes(self._step / 8)
        steepest = max(map(abs, wide))
        if steepest > 0.1 * error and max(map(abs, narrow)) > 4 * steepest:
            return -np.inf, np.inf
        gap = abs(wide[1] - wide[0])
        shrunk = abs(narrow[1] - narrow[0]) / gap if gap else 0.125
        return wide if gap > 0.1 * error and not 0.06 < shrunk < 0.25 else None
