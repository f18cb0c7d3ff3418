"""The table of a model: its layers, their output shapes, parameters and the spread of their weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.creation import zeros
from ..autograd.modes import no_grad
from ..autograd.tensor import Tensor
from ..devices.arrays import is_array, to_host
from ..text import table
from ._restoring import restoring
from .module import Module

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Summary", "summary"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        name: its path in the model, such as ``"2"`` or ``"encoder.0"``; empty for the model itself.
        kind: the name of its class.
        output_shapes: the shapes of its outputs for the example; empty without an example.
        parameters: the number of values it learns, except values shared with an earlier layer.
        std: the standard deviation of its weights (without biases and gains), ``None`` if it has none.
    """

    name: str
    kind: str
    output_shapes: tuple[Shape, ...]
    parameters: int
    std: float | None

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as text."""
        shapes = ", ".join(str(shape) for shape in self.output_shapes)
        std = "" if self.std is None else f"{self.std:.4f}"
        return self.name, self.kind, shapes, f"{self.parameters:,}" if self.parameters else "", std


@dataclass(frozen=True)
class Summary:
    """The result of `summary`: the rows and the totals. ``print`` shows it; rich renders it as a table.

    Attributes:
        rows: one `Row` per layer, in order.
        parameters: the number of values the model learns, shared ones counted once.
        trainable: how many of them require a gradient.
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles; the output shapes are empty without an example."""
        return ("layer", "kind", "output shape", "parameters", "weight std")

    @property
    def footer(self) -> str:
        """The totals as text."""
        frozen = self.parameters - self.trainable
        return f"{self.parameters:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")

    def __str__(self) -> str:
        titles, *lines = table([self.columns, *(row.cells() for row in self.rows)], "<<<>")
        return "\n".join([titles, "─" * len(titles), *lines, self.footer])

    def __rich__(self) -> Table:
        from rich.table import Table

        found = Table(caption=self.footer)
        for number, title in enumerate(self.columns):
            found.add_column(title, justify="left" if number < 3 else "right")
        for row in self.rows:
            found.add_row(*row.cells())
        return found


def summary(model: Module, example: Any = None) -> Summary:
    """Summarize ``model``: a row for every module that owns parameters or contains no others.

    Before training, the standard deviations describe the initial weights.

    Args:
        model: any module.
        example: an input, as a Tensor or array, or its shape as a tuple (then zeros of the model's dtype, on its
            device). With it the model runs once, in evaluation mode and without recording, to find the output shapes;
            its modes, buffers and hooks are restored.

    Raises:
        TypeError: for an example that is neither.
    """
    shapes = {} if example is None else _output_shapes(model, _as_input(model, example))
    rows = []
    counted: set[int] = set()
    for name, module in model.named_modules():
        if module._modules and not module._parameters:
            continue
        own = [p for p in module._parameters.values() if id(p) not in counted]
        counted.update(map(id, own))
        weights = [to_host(p.data).ravel() for p in module._parameters.values() if p.role == "weight" and p.size]
        std = float(np.std(np.concatenate(weights), dtype=np.float64)) if weights else None
        rows.append(Row(name, type(module).__name__, shapes.get(id(module), ()), sum(p.size for p in own), std))
    parameters = list(model.parameters())
    return Summary(tuple(rows), sum(p.size for p in parameters), sum(p.size for p in parameters if p.requires_grad))


def _as_input(model: Module, example: Any) -> Any:
    if isinstance(example, Tensor) or is_array(example):
        return example
    if not isinstance(example, tuple) or not all(isinstance(n, int) for n in example):
        raise TypeError(
            f"summary: the example must be a Tensor, an array, or a shape such as (1, 64), not {example!r:.60}"
        )
    first = next((p for p in model.parameters() if p.dtype.kind == "f"), None)
    return zeros(example) if first is None else zeros(example, dtype=first.dtype, device=first.device)


def _output_shapes(model: Module, example: Any) -> dict[int, tuple[Shape, ...]]:
    """The shapes that each module returns for an example, by the module's id."""
    shapes: dict[int, tuple[Shape, ...]] = {}

    def note(module: Module, args: tuple[Any, ...], output: Any) -> None:
        shapes[id(module)] = tuple(_shapes(output))

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with restoring(model), no_grad():
            model.eval()
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _shapes(output: Any) -> Iterator[Shape]:
    if isinstance(output, Tensor) or is_array(output):
        yield output.shape
    elif isinstance(output, tuple | list):
        for item in output:
            yield from _shapes(item)
    elif isinstance(output, dict):
        for item in output.values():
            yield from _shapes(item)
