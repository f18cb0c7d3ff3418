"""detect_anomaly: look at every result of a block, and raise at the first NaN or infinity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import observers
from ..autograd.graph import Edge, Node
from ..autograd.modes import Block
from ..autograd.tensor import Tensor
from ..checks import flag, refuse_unknown
from ..nn import Parameter
from ..ops.primitive import BoundRule, Primitive
from .anomaly import Anomaly, AnomalyError
from .calls import Finder, Place, WeakMap, places
from .ranges import is_measurable, measure

# For tensors and nodes that are not finite but were allowed to pass: the operation that made them so.
_origins: WeakMap[Anomaly] = WeakMap()


class Tracer(observers.Observer):
    """Looks at the results of every operation and every gradient rule of its thread, and raises `AnomalyError`."""

    def __init__(self, infinities: bool = True) -> None:
        self.infinities = infinities
        self._finder = Finder()
        self._node: Node | None = None  # whose rule is running; in a recorded walk, it uses tensors
        self._walks = 0  # in progress; computations between their rules are made by hooks

    def _decides(self) -> bool:
        """Whether this is the innermost of nested tracers, which decides."""
        return [each for each in observers.watching() if isinstance(each, Tracer)][-1] is self

    # --- forward ---------------------------------------------------------------------------------------------------

    def computed(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        arrays: Sequence[Any],
        settings: Mapping[str, Any],
        result: Tensor,
    ) -> None:
        """Look at a result."""
        if not self._decides():
            return
        node, place = result._node, None
        if node is not None:
            # The results of a recorded backward walk belong to the operation that is differentiated.
            place = places.get(self._node) or self._finder.here()
            places[node] = place
        out = result._data
        if self._node is not None or out.dtype.kind not in "fc" or np.isfinite(out).all():
            return
        inputs = {_input_name(primitive, i, args[i]): array for i, array in enumerate(arrays) if is_measurable(array)}
        elementwise = isinstance(primitive.forward, np.ufunc)
        made = self._made(out, list(inputs.values()), elementwise)
        entered = not made.any() and not primitive.view and bool(np.isnan(out).any())
        origin = next((known for arg in args if (known := _origins.get(arg)) is not None), None)
        here = place or self._finder.here()
        anomaly = _describe(
            primitive.name, "forward", here, inputs, out, made, origin, elementwise, in_hook=self._walks > 0
        )
        if made.any() or entered:
            raise AnomalyError(anomaly)
        for each in (result, node):
            if each is not None:
                _origins[each] = origin or anomaly

    def _made(self, out: Any, inputs: list[Any], elementwise: bool) -> Any:
        """Which elements became NaN or infinite here: a mask like ``out``."""
        if elementwise:
            no_nan, finite = (~_any(f(x) for x in inputs) for f in (np.isnan, _not_finite))
        else:
            no_nan = np.bool_(not any(bool(np.isnan(x).any()) for x in inputs))
            finite = np.bool_(not any(bool(_not_finite(x).any()) for x in inputs))
        made = np.isnan(out) & no_nan
        return made | (np.isinf(out) & finite) if self.infinities else made

    def check(self, place: Any) -> None:
        """Raise AnomalyError if ``place``, a tensor or a node, is not finite but was allowed to pass."""
        origin = _origins.get(place)
        if origin is not None:
            raise AnomalyError(origin)

    # --- backward --------------------------------------------------------------------------------------------------

    def walking(self, seeds: Sequence[tuple[Edge, Any]]) -> None:
        """Refuse to differentiate a loss that is not finite."""
        self._walks += 1
        if self._decides():
            for edge, _ in seeds:
                self.check(edge)

    def differentiating(self, node: Node, g: Any) -> None:
        """Note the node whose rule runs."""
        self._node = node

    def differentiated(self, node: Node, bound: BoundRule, values: Sequence[Any], total: Any) -> None:
        """Look at a gradient."""
        self._node, total = None, _array(total)
        if not self._decides() or total.dtype.kind not in "fc" or np.isfinite(total).all():
            return
        g, saved, earlier = values
        inputs = {"gradient": _array(g)}
        for place in bound.places:
            value = _array(saved[place])
            if is_measurable(value):
                inputs[_saved_name(node, place)] = value
        if earlier is not None:
            inputs["gradient so far"] = _array(earlier)
        made = self._made(total, list(inputs.values()), elementwise=False)
        if made.any() or np.isnan(total).any():
            elementwise = isinstance(node.primitive.forward, np.ufunc)
            of = _input_name(node.primitive, bound.position, node.edges[bound.position])
            raise AnomalyError(
                _describe(node.primitive.name, "backward", places.get(node), inputs, total, made, None, elementwise, of)
            )

    def walked(self) -> None:
        """The end of a walk, also of one in which a rule failed."""
        self._node = None
        self._walks -= 1


def _describe(
    op: str,
    phase: str,
    place: Place | None,
    inputs: Mapping[str, Any],
    out: Any,
    made: Any,
    origin: Anomaly | None,
    elementwise: bool,
    of: str = "",
    in_hook: bool = False,
) -> Anomaly:
    """The anomaly of one result; ``made`` is a mask of the elements that the operation made non-finite."""
    output, ranges = measure(out), {name: measure(value) for name, value in inputs.items()}
    bad = made if made.any() else _not_finite(out)
    index = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), out.shape))
    at_index = {}
    if elementwise and made.any():
        for name, value in inputs.items():
            try:
                at_index[name] = float(np.broadcast_to(value, out.shape)[index])
            except ValueError:  # the rule sums over what was broadcast
                continue
    value = out[index]
    what = "NaN" if np.isnan(value) else "inf" if value > 0 else "-inf"
    culprits = [name for name, each in ranges.items() if each.nan] or [n for n, r in ranges.items() if not r.finite]
    if not made.any() and culprits:
        cause = f"because {' and '.join(culprits)} already had {'NaN' if output.nan else 'infinities'}"
    elif all(each.finite for each in ranges.values()):
        cause = "from finite input" if phase == "forward" else "from finite values"
    else:
        cause = f"from infinite {' and '.join(name for name, each in ranges.items() if not each.finite)}"
    rule = f"the gradient rule of {op} for {of}" if phase == "backward" else op
    layer = place.layers[-1] if place is not None and place.layers else None
    return Anomaly(
        op=op,
        phase=phase,
        summary=f"{rule} gave {what} in {'a hook of the backward' if in_hook else f'the {phase}'} pass, {cause}",
        source=None if place is None else place.source,
        layer=None if layer is None else layer.path,
        layer_class=None if layer is None else layer.kind,
        ranges=ranges,
        output=output,
        index=index,
        at_index=at_index,
        made=bool(made.any()),
        origin=origin if made.any() and any(not each.finite for each in ranges.values()) else None,
    )


def _input_name(primitive: Primitive, position: int, arg: Any) -> str:
    name = primitive.input_name(position)
    return f"{name} {arg.name!r}" if isinstance(arg, Parameter) and arg.name else name


def _saved_name(node: Node, place: int) -> str:
    """The name in a node's rules of the value that it saved at ``place``."""
    primitive, arity, source = node.primitive, node.recipe.arity, node.recipe.sources[place]
    if source == arity:
        return "output"
    if source > 2 * arity:
        return list(primitive.extras)[source - 2 * arity - 1]
    return _input_name(primitive, source, node.edges[source])


def _array(value: Any) -> Any:
    return value._data if isinstance(value, Tensor) else value


def _not_finite(x: Any) -> Any:
    return ~np.isfinite(x)


def _any(masks: Any) -> Any:
    result: Any = np.False_
    for mask in masks:
        result = result | mask
    return result


class detect_anomaly(Block):  # noqa: N801 - named as in PyTorch
    """Raise `AnomalyError` at the operation that makes the first NaN or infinity, in this thread.

    In a ``with`` block or a decorated function, every result of an operation on tensors and every gradient is
    checked. The error names the operation (or the one whose gradient rule it was), the line in your code that called
    it, the layer, and the ranges of its inputs. It is meant for debugging, since everything takes longer.

    An infinity or NaN is an anomaly if the inputs of the operation had none. Infinities that you put in yourself, such
    as -inf in a mask, may pass; NaN never does, wherever it comes from, and a loss that is not finite is not
    differentiated. For the backward pass to name lines and layers, run the forward pass inside the block too. Blocks
    nest: the innermost decides.

    Args:
        infinities: whether an infinity made from finite numbers is an anomaly too. ``False`` allows intended ones,
            such as log(0) in a branch that ``where`` discards; a NaN that results from one is still found.

    >>> with detect_anomaly():  # doctest: +SKIP
    ...     loss = nn.functional.mse_loss(model(x), y)
    ...     loss.backward()
    """

    def __new__(cls, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        refuse_unknown("detect_anomaly", options, ["infinities"])
        return super().__new__(cls) if function is None else cls(**options)(function)

    def __init__(self, *, infinities: bool = True) -> None:
        self._infinities = flag(self, "infinities", infinities)

    def __enter__(self) -> None:
        observers.enter(_BlockTracer(self, self._infinities))

    def __exit__(self, *error: object) -> None:
        # Each call of a decorated function enters one tracer, so leave the one that this block entered last.
        own = [each for each in observers.watching() if isinstance(each, _BlockTracer) and each.block is self]
        if own:
            observers.leave(own[-1])


class _BlockTracer(Tracer):
    def __init__(self, block: detect_anomaly, infinities: bool) -> None:
        super().__init__(infinities)
        self.block = block
