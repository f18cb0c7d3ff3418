"""`check_gradients`: compare the gradients of a function with numerical derivatives of its values.

If every recorded operation is complex differentiable and accepts complex numbers, the derivative is the complex step,
Im f(x + ih)/h with h = 1e-20, which has no cancellation (Squire and Trapp 1998). Otherwise it is the central difference
(f(x + h) - f(x - h))/2h.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np

from . import devices, random
from .autograd.as_array import Array
from .autograd.gradients import grad
from .autograd.graph import Node, collect
from .autograd.tensor import Tensor, edge_of
from .checks import listed
from .nn.module import Module

_COMPLEX_STEP = 1e-20
# The cube root of float64's resolution balances truncation and cancellation of a central difference.
_STEP = 6e-6
_TOLERANCES = {"complex step": (1e-8, 1e-10), "central difference": (1e-5, 1e-7)}

Points = Sequence[Array]
Outputs = list[Tensor]
Function = Callable[[Points], Outputs]


class GradientError(AssertionError):
    """Raised by `check_gradients` when a gradient is wrong; ``report`` has the figures."""

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Entry:
    """The entry of an input's gradient that differs most from its numerical value.

    ``position`` is the input's number; the parameters of a model come after the other inputs. ``name`` is a
    parameter's name.

    ``kink`` has the slopes on the left and on the right if the difference straddles a kink. There any gradient between
    the two is right, and ``ok`` requires only that.
    """

    position: int
    order: int
    method: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    ok: bool
    kink: tuple[float, float] | None = None
    name: str = ""

    @property
    def error(self) -> float:
        """The size of the difference."""
        return abs(self.analytic - self.numeric)

    def __str__(self) -> str:
        verdict = "ok   " if self.ok else "WRONG"
        text = (
            f"{verdict} {_title(self.position, self.name)}, order {self.order}: worst at {self.index}: "
            f"analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, error {self.error:.2e} ({self.method})"
        )
        if self.kink:
            text += f"; straddles a kink with slopes {self.kink[0]:.6g} and {self.kink[1]:.6g}"
        return text


@dataclass(frozen=True)
class GradientReport:
    """The result of `check_gradients`: an `Entry` for each input and order. True if all gradients are right."""

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
    *inputs: Any,
    order: int = 2,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    raise_exception: bool = True,
) -> GradientReport:
    """Compare the gradients of ``f`` with numerical derivatives, in float64.

    - ``check_gradients(f, w, b)``: the gradients of ``f(w, b)``.
    - ``check_gradients(model, x)``: the gradients of ``model(x)`` for ``x`` and all parameters.
    - ``check_gradients(lambda: loss(model(x), y), model.parameters())``: the gradients of a loss, if ``model`` and
      ``x`` are float64.

    Two methods give the value to compare with. The complex step evaluates ``f`` at x + ih, with an imaginary
    h = 1e-20: for a complex differentiable function, the imaginary part divided by h is the derivative to full
    precision, because nothing is subtracted. It is used if every operation is of that kind (``exp``, ``tanh``, matrix
    products). Otherwise (``relu``, ``abs``, ``max``), and where a complex step meets a kink, such as a norm at
    0, the central difference (f(x + h) - f(x - h))/2h is used, which is right to about 1e-5.

    The outputs are weighted by random numbers, because errors could cancel in a plain sum. For the second order, the
    gradient takes the place of ``f``.

    Args:
        f: a function of tensors that returns a tensor or a tuple of them; of a `Module` the parameters are checked
            too. It must be deterministic and compute in float64. One that takes no arguments uses the tensors itself.
        inputs: the arguments of ``f``, one by one or as one sequence, dictionary, or iterator of (name, tensor) pairs
            as ``model.named_parameters()`` is: tensors or arrays. Inputs of a float dtype are
            checked: a tensor is set to float64 values, moved, and restored at the end, as are a module's parameters and
            buffers. Other inputs are passed on unchanged.
        order: 1 for gradients, 2 for gradients of gradients also.
        rtol, atol: the largest error is ``atol`` + ``rtol`` · |value|; by default 1e-8 and 1e-10 for complex steps,
            1e-5 and 1e-7 for differences.
        seed: of the random weights.
        raise_exception: raise where a gradient is wrong, rather than only report it.

    Returns:
        A report with the worst entry for each input and order.

    Raises:
        GradientError: if a gradient is wrong.
        ValueError: if an input does not reach the output, or if ``f`` draws random numbers, as dropout does, gives
            other values when called again, or loses precision, for instance by a conversion to float32.
    """
    if order not in (1, 2):
        raise ValueError(f"check_gradients: order must be 1 or 2, not {order!r}")
    if not callable(f):
        raise TypeError(
            f"check_gradients: f must be a function, which is called again at other points, not {type(f).__name__}; "
            "pass lambda: ..., or the function and its arguments"
        )
    given = list(inputs)
    if len(given) == 1 and isinstance(given[0], Iterable) and not _is_value(given[0]):
        given = listed("check_gradients", given[0].items() if isinstance(given[0], Mapping) else given[0], "inputs")
        if all(isinstance(x, tuple) and len(x) == 2 and isinstance(x[0], str) for x in given):
            given = [x for _, x in given]
    moved = _Moved(f, given)
    if not moved.tensors:
        raise ValueError("check_gradients: no input is of a float dtype, so there is nothing to check")
    state = random.get_state()
    try:
        with moved:
            report = _report(moved, order, rtol, atol, seed)
    finally:
        random.set_state(state)
    if raise_exception and not report.ok:
        raise GradientError(report)
    return report


def _is_value(x: Any) -> bool:
    return isinstance(x, Tensor | Module | str) or devices.is_array(x)


def _title(position: int, name: str) -> str:
    return f"input {position} ({name})" if name else f"input {position}"


class _Moved:
    """A function and the tensors that are varied; leaving the block restores them.

    Attributes:
        tensors: the inputs that are checked, and then the parameters.
        points: their values in float64, on the CPU.
        titles: for each of them its number and name.
    """

    def __init__(self, f: Callable[..., Any], given: Sequence[Any]) -> None:
        self._f, self._arguments = f, list(given)
        self.tensors: list[Tensor] = []
        self.titles: list[tuple[int, str]] = []
        for i, x in enumerate(given):
            array = x.data if isinstance(x, Tensor) else x
            if not devices.is_array(array) or array.dtype.kind != "f":
                continue
            if not isinstance(x, Tensor) or not x.is_leaf or self._holds(x):
                self._arguments[i] = x = Tensor._make(array)
            self._add(x, i)
        named = [pair for x in (f, *given) if isinstance(x, Module) for pair in x.named_modules()]
        modules = [module for _, module in named]
        for parameter in (p for module in modules for p in module._parameters.values()):
            if parameter.requires_grad and not self._holds(parameter):
                self._add(parameter, max(len(given), self.titles[-1][0] + 1 if self.titles else 0))
        self.modules = named
        self.points = [devices.to_host(x.data).astype(np.float64) for x in self.tensors]
        # The rest of a module, which also computes in float64, and the buffers that its forward pass may change.
        self._others = [p for module in modules for p in module._parameters.values() if not self._holds(p)]
        self._buffers = [(vars(m), n, vars(m)[n]) for m in modules for n in m._buffers if vars(m)[n] is not None]
        self._others += [buffer for _, _, buffer in self._buffers]
        try:
            signature = inspect.signature(f)
            self._alone = not signature.parameters and bool(self._arguments)
        except (TypeError, ValueError):
            self._alone = False

    def _holds(self, tensor: Tensor) -> bool:
        return any(each is tensor for each in self.tensors)

    def _add(self, tensor: Tensor, position: int) -> None:
        self.tensors.append(tensor)
        self.titles.append((position, getattr(tensor, "name", "")))

    def __enter__(self) -> Self:
        everything = [*self.tensors, *self._others]
        self._before = [(x, x._data, x._requires_grad, x._version[0]) for x in everything]
        self._homes = [devices.device_of(x._data) for x in self.tensors]
        for x in self.tensors:
            x._requires_grad = True
        return self

    def __exit__(self, *error: object) -> None:
        for where, name, buffer in self._buffers:
            where[name] = buffer
        for x, data, requires_grad, version in self._before:
            x._data, x._requires_grad, x._version[0] = data, requires_grad, version

    def __call__(self, points: Points) -> Outputs:
        """The outputs of the function, where the tensors have the values ``points``."""
        for x, point, home in zip(self.tensors, points, self._homes, strict=True):
            # Not by a setter, which would refuse the complex numbers of a complex step.
            x._data = devices.to_device(point.copy(), home)
        for x, data, _, _ in self._before[len(self.tensors) :]:
            x._data = data.astype(np.float64) if data.dtype.kind == "f" else data.copy()
        for where, name, buffer in self._buffers:
            where[name] = buffer
        try:
            result = self._f() if self._alone else self._f(*self._arguments)
        except TypeError as error:
            if "float32" in str(error) and "float64" in str(error):
                error.add_note(
                    "check_gradients computes in float64: convert the model by model.double(), and the data that the "
                    "function uses by .double()"
                )
            raise
        return [y.cpu() for y in _tensors(result)]


def _tensors(result: Any) -> Iterator[Tensor]:
    """The tensors in a function's result, which may be nested, as an LSTM's is."""
    if isinstance(result, tuple | list):
        for part in result:
            yield from _tensors(part)
    elif isinstance(result, Tensor):
        yield result
    else:
        raise TypeError(f"check_gradients: f must return a tensor or a tuple of them, not {type(result).__name__}")


def _report(moved: _Moved, order: int, rtol: float | None, atol: float | None, seed: int) -> GradientReport:
    nodes = _check_function(moved)
    rng = np.random.default_rng(seed)
    entries: list[Entry] = []
    analytic, function = True, cast(Function, moved)
    for level in range(1, order + 1):
        weights = [rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1, 1], y.shape) for y in function(moved.points)]
        # A gradient's values depend on everything that was recorded for the function itself.
        nodes = nodes if level == 1 else _nodes(function(moved.points))
        analytic = analytic and all(node.primitive.analytic for node in nodes)
        entries += _compare(function, moved, weights, level, analytic, rtol, atol)
        function = _gradient_of(function, moved.tensors, weights)
    return GradientReport(tuple(entries))


def _nodes(outputs: Outputs) -> list[Node]:
    return collect({edge_of(y) for y in outputs})


def _check_function(moved: _Moved) -> list[Node]:
    """Return the nodes that the function records; raise if it cannot be checked."""
    outputs = moved(moved.points)
    nodes, state = _nodes(outputs), random.get_state()
    again = moved(moved.points)
    if random.get_state() != state:
        raise ValueError(
            f"check_gradients: the function draws random numbers{_drawing(moved, nodes)} and gave other values when "
            "called again; use .eval(), or seed it inside with minigrad.manual_seed()"
        )
    if not all(np.array_equal(y.data, z.data, equal_nan=True) for y, z in zip(outputs, again, strict=True)):
        raise ValueError("check_gradients: the function gave other values when called again; seed it inside")
    for node in nodes:
        if np.finfo(node.dtype).eps > np.finfo(np.float64).eps:
            raise ValueError(
                f"check_gradients: the function computes in {node.dtype} ({node.primitive.name}), where differences of "
                "values are lost in rounding; compute in float64 throughout"
            )
    if not any(y.requires_grad for y in outputs):
        raise ValueError("check_gradients: no output depends on an input through recorded operations")
    return nodes


def _drawing(moved: _Moved, nodes: Sequence[Node]) -> str:
    """The modules that draw random numbers, as far as known."""
    names = [
        f"{type(module).__name__} {path!r}" if path else type(module).__name__
        for path, module in moved.modules
        if module.training and (vars(module).get("p") or vars(module).get("dropout"))
    ]
    if not names and any(node.primitive.name == "dropout" for node in nodes):
        names = ["dropout"]
    return f" ({', '.join(dict.fromkeys(names))})" if names else ""


def _gradient_of(function: Function, tensors: list[Tensor], weights: Sequence[Array]) -> Function:
    """The function that gives the gradients of ``function``, themselves differentiable."""

    def gradient(points: Points) -> Outputs:
        found = _differentiate(function(points), tensors, weights, create_graph=True)
        return [Tensor._make(np.zeros_like(p)) if g is None else g.cpu() for p, g in zip(points, found, strict=True)]

    return gradient


def _differentiate(
    outputs: Outputs, tensors: list[Tensor], weights: Sequence[Array], create_graph: bool
) -> list[Tensor | None]:
    """The gradients of the weighted outputs; None for tensors that they do not depend on."""
    pairs = [(y, w) for y, w in zip(outputs, weights, strict=True) if y.requires_grad]
    if not pairs:
        return [None] * len(tensors)
    return list(
        grad([y for y, _ in pairs], tensors, [w for _, w in pairs], create_graph=create_graph, allow_unused=True)
    )


def _compare(
    function: Function,
    moved: _Moved,
    weights: list[Array],
    order: int,
    analytic: bool,
    rtol: float | None,
    atol: float | None,
) -> list[Entry]:
    """The worst entry for each input."""
    points = moved.points
    found = _differentiate(function(points), moved.tensors, weights, create_graph=False)
    gradients = [np.zeros_like(p) if g is None else devices.to_host(g.data) for p, g in zip(points, found, strict=True)]

    def value(changed: Points) -> Any:
        total = sum(np.sum(y.data * w) for y, w in zip(function(changed), weights, strict=True))
        return total if np.iscomplexobj(total) else float(total)

    def margin(method: str, numeric: float) -> float:
        limits = _TOLERANCES[method]
        return (limits[1] if atol is None else atol) + (limits[0] if rtol is None else rtol) * abs(numeric)

    analytic = analytic and _takes_complex(value, points)
    entries = []
    for i, (point, (position, name)) in enumerate(zip(points, moved.titles, strict=True)):
        worst, severity, moves = None, -1.0, False
        for index in np.ndindex(point.shape):
            along = _Line(value, points, i, index)
            exact = float(gradients[i][index])
            method = "complex step" if analytic else "central difference"
            numeric = along.complex_step() if analytic else along.central()
            ok, kink = bool(abs(exact - numeric) <= margin(method, numeric)), None
            if not ok and analytic:
                # If both agree, the gradient is wrong; if not, the function has no complex derivative.
                central = along.central()
                if not abs(central - numeric) <= margin("central difference", central):
                    method, numeric = "central difference", central
                    ok = bool(abs(exact - numeric) <= margin(method, numeric))
            error = abs(exact - numeric)
            if not ok and method == "central difference":
                along.check_resolution(_title(position, name))
                kink = along.kink(error)
                room = margin(method, numeric)
                ok = kink is not None and min(kink) - room <= exact <= max(kink) + room
            moves = moves or numeric != 0
            rank = np.inf if np.isnan(error) else error + (0 if ok else 1e300)
            if rank > severity:
                worst, severity = Entry(position, order, method, index, exact, numeric, ok, kink, name), rank
        if order == 1 and found[i] is None and not moves and point.size:
            raise ValueError(
                f"check_gradients: {_title(position, name)} does not reach the output, so there is nothing to compare; "
                "f must compute with its arguments, or with the very tensors that are given"
            )
        if worst is not None:
            entries.append(worst)
    return entries


def _takes_complex(value: Callable[[Points], Any], points: Points) -> bool:
    """Whether the function propagates complex numbers; one that makes real copies does not."""
    try:
        with warnings.catch_warnings(action="error", category=np.exceptions.ComplexWarning):
            value([point.astype(np.complex128) for point in points])
    except (TypeError, np.exceptions.ComplexWarning):
        return False
    return True


class _Line:
    """The function along one entry of one input."""

    def __init__(self, value: Callable[[Points], Any], points: Points, which: int, index: tuple[int, ...]) -> None:
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

    def check_resolution(self, title: str) -> None:
        """Raise if the values form a fine staircase, such as from rounding to float32."""
        middle, near = self._at(0.0), 1e-4 * self._step
        if abs(self.central()) * near < 1e3 * np.finfo(np.float64).eps * abs(middle):
            return
        # A jump leaves few values; a smooth function differs nearby.
        values = {self._at(self._step * part / 8) for part in range(1, 9)}
        if len(values) > 3 and self._at(near) == middle == self._at(-near):
            raise ValueError(
                f"check_gradients: the function loses precision: it has the same value when {title} at {self._index} "
                f"moves by {near:.1e}, but not when it moves by {self._step:.1e}; compute in float64 throughout"
            )

    def kink(self, error: float) -> tuple[float, float] | None:
        """The slopes on both sides if they explain an error of this size.

        The slopes of a smooth function differ in proportion to the step; across a kink they differ by the same
        whatever the step, or not at all once the step is too small to reach it. Across a jump, as a gradient makes
        at a kink, they grow as the step shrinks, so they are not informative.
        """
        wide, narrow = self._slopes(self._step), self._slopes(self._step / 8)
        steepest = max(map(abs, wide))
        if steepest > 0.1 * error and max(map(abs, narrow)) > 4 * steepest:
            return -np.inf, np.inf
        gap = abs(wide[1] - wide[0])
        shrunk = abs(narrow[1] - narrow[0]) / gap if gap else 0.125
        return wide if gap > 0.1 * error and not 0.06 < shrunk < 0.25 else None
