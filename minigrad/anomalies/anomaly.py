"""Anomaly: the description of the operation that made the first NaN or infinity."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..text import table
from .calls import SourceLine
from .ranges import Range, number

# The usual remedy, by pass and op.
_REMEDIES = {
    ("forward", "log"): (
        "log(0) is -inf and log of a negative number NaN: keep the input positive, as in log(x + 1e-8), or use "
        "log_softmax() instead of log(softmax())"
    ),
    ("forward", "divide"): (
        "where the divisor can be 0, add a small number to it, or choose both operands with where() before dividing"
    ),
    ("forward", "exp"): (
        "exp overflows in {dtype} above {limit:.1f}: subtract the largest input first, as softmax() and logsumexp() do"
    ),
    ("forward", "power"): (
        "a negative number to a power that is not whole is NaN, and 0 to a negative power is infinite: keep the "
        "base positive"
    ),
    ("forward", "sqrt"): (
        "the root of a negative number is NaN: rounding can make a difference of squares negative, so clip it at 0"
    ),
    ("forward", "linear"): (
        "inputs or weights have grown too large: lower the learning rate, clip the gradients, or check the initial "
        "scale of the weights"
    ),
    ("backward", "sqrt"): "the slope of the root is infinite at 0: add a small number inside, as in sqrt(x + 1e-8)",
    ("backward", "log"): (
        "1 / x is infinite at 0, also where where() discards the logarithm afterwards: choose the input with where() "
        "before the log"
    ),
    ("backward", "divide"): (
        "the divisor is too small, also where where() discards the quotient afterwards: choose the divisor with "
        "where() before dividing"
    ),
    ("backward", "power"): "a power below 1 has an infinite slope at 0: add a small number to the base",
}
_OLDER = (
    "the values that were not finite before do not come from an operation in this block, but from the data, an "
    "optimizer step, an assignment, or from before the block"
)


@dataclass(frozen=True)
class Anomaly:
    """The operation that made a value that is not finite, and its inputs; ``str`` gives a report.

    Attributes:
        op: the name of the operation.
        phase: ``"forward"``, or ``"backward"`` if the gradient rule of ``op`` made the value.
        summary: what happened, in one line.
        source: the line of code that called the operation (in the forward pass), or ``None`` if it is not known.
        layer: the path of the layer in the model, such as ``"2"``, empty for the model itself; ``None`` outside of
            modules.
        layer_class: the name of the layer's class, or ``None``.
        ranges: by name, the `Range` of every input; in the backward pass, of the arriving gradient and of the values
            that the rule read. A parameter also has its own name: ``"weight '2.weight'"``.
        output: the `Range` of the result.
        index: the index of the first value that is not finite.
        at_index: the inputs of an elementwise operation at that index, by name.
        made: whether the operation made the value; otherwise it was in an input.
        origin: the operation that made the infinity from which this NaN results, if it is known.
    """

    op: str
    phase: str
    summary: str
    source: SourceLine | None
    layer: str | None
    layer_class: str | None
    ranges: Mapping[str, Range]
    output: Range
    index: tuple[int, ...]
    at_index: Mapping[str, float]
    made: bool
    origin: Anomaly | None = None

    @property
    def nonfinite(self) -> tuple[str, ...]:
        """The names of the ranges that were not finite themselves."""
        return tuple(name for name, each in self.ranges.items() if not each.finite)

    @property
    def where(self) -> str:
        """The line and the layer as text: ``"train.py:14, in forward; layer '2' (Linear)"``."""
        return "; ".join(filter(None, (self.source.title if self.source else "", self._layer_title)))

    @property
    def told(self) -> str:
        """Summary and place in one line."""
        return f"{self.summary} ({self.where})" if self.where else self.summary

    @property
    def _layer_title(self) -> str:
        if self.layer is None:
            return ""
        return f"layer {self.layer!r} ({self.layer_class})" if self.layer else f"the model ({self.layer_class})"

    def __str__(self) -> str:
        lines = [self.summary, ""]
        called = "called" if self.phase == "forward" else "whose forward was called"
        if self.source is None:
            lines.append(f"  {called} at an unknown line: run the forward pass inside detect_anomaly() too")
        else:
            lines.append(f"  {called} at {self.source.title}")
            lines += [f"      {line}" for line in self.source.lines()]
        if self._layer_title:
            lines.append(f"  in {self._layer_title}")
        rows = [(name, str(each)) for name, each in [*self.ranges.items(), ("result", self.output)]]
        if self.index or self.at_index:
            place = f"first at {list(self.index)}" if self.index else "there"
            values = ", ".join(f"{name} = {number(value)}" for name, value in self.at_index.items())
            rows.append(("", f"{place}, {'where ' * bool(self.index)}{values}" if values else place))
        lines += [f"  {line}" for line in table(rows)]
        if self.origin is not None:
            lines += _wrapped(f"the infinity comes from an earlier operation: {self.origin.told}")
        if not self.nonfinite and (self.phase, self.op) in _REMEDIES:
            dtype = self.output.dtype
            limit = math.log(np.finfo(dtype).max)
            lines += _wrapped(_REMEDIES[self.phase, self.op].format(dtype=dtype, limit=limit))
        if self.nonfinite and self.origin is None:
            lines += _wrapped(_OLDER)
        return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    """Lines of at most 80 columns, for tracebacks; file names are not broken."""
    return textwrap.wrap(
        text, 80, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


class AnomalyError(FloatingPointError):
    """NaN or infinity under `detect_anomaly`; the text reports the operation, its place and its inputs.

    Attributes:
        anomaly: the `Anomaly`; ``op``, ``phase``, ``source``, ``layer`` and ``ranges`` are also the error's own.
    """

    def __init__(self, anomaly: Anomaly) -> None:
        super().__init__(anomaly)
        self.anomaly = anomaly
        self.op = anomaly.op
        self.phase = anomaly.phase
        self.source = anomaly.source
        self.layer = anomaly.layer
        self.ranges = anomaly.ranges
