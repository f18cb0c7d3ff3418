"""Finds where a loss that is not finite came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.modes import no_grad
from ..autograd.observers import observing
from ..autograd.tensor import Tensor
from ..nn import Module
from ..nn.inspection import restoring
from .evaluation import Loss

if TYPE_CHECKING:
    from ..anomalies.anomaly import Anomaly


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; the text names the step, and the first layer and operation with such a value.

    Attributes:
        loss: NaN or an infinity.
        step: the step that was not taken, counted from 1.
        layer: the name of the layer, empty for the model itself, or ``None`` if only the loss is not finite.
        anomaly: the operation, the line of code that called it and the ranges of its inputs, as
            `minigrad.study.detect_anomaly` finds them; ``None`` if the features are not finite.
    """

    def __init__(self, text: str, loss: float, step: int, layer: str | None, anomaly: Anomaly | None = None) -> None:
        super().__init__(text)
        self.loss, self.step, self.layer, self.anomaly = loss, step, layer, anomaly

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.loss, self.step, self.layer, self.anomaly)


def explain_nonfinite(
    model: Module, loss: Loss, features: Any, labels: Any, value: float, *, step: int, epoch: int
) -> NonFiniteLossError:
    """Return the error for a loss that is not finite: the batch runs again, and each operation is checked.

    Buffers and random numbers are restored.
    """
    layer, anomaly = None, None
    if not _finite(features):
        cause = "the features of the batch are not finite"
    else:
        layer, anomaly = _first_nonfinite(model, loss, features, labels)
        found = "" if anomaly is None else anomaly.summary + (f" ({anomaly.source.title})" if anomaly.source else "")
        if anomaly is None:
            cause = "it is finite when the batch runs again, so it depends on random numbers, as with dropout"
        elif layer is None:
            cause = f"every layer is finite, so it comes from the loss function: {found}"
        else:
            title = f"layer {layer!r} ({anomaly.layer_class})" if layer else f"{anomaly.layer_class}"
            bad = [name for name in anomaly.nonfinite if "'" in name]  # the parameters
            why = f", whose {' and '.join(bad)} had become so" if bad else ""
            cause = f"{title} was the first with values that are not finite{why}: {found}"
    text = f"the loss is {value} at step {step} (epoch {epoch}); {cause}"
    return NonFiniteLossError(text, value, step, layer, anomaly)


def _first_nonfinite(model: Module, loss: Loss, features: Any, labels: Any) -> tuple[str | None, Anomaly | None]:
    """The first operation with a value that is not finite, and its layer unless it was in the loss."""
    # Only a run that fails needs them, so that others start sooner.
    from ..anomalies.anomaly import AnomalyError
    from ..anomalies.detection import Tracer

    output: Any = np.float32(np.nan)  # until there is one
    try:
        with restoring(model), observing(Tracer()) as tracer, no_grad():
            output = model(features)
            tracer.check(loss(output, labels))
    except AnomalyError as error:
        anomaly = error.anomaly
        if anomaly.origin is not None and not _finite(output):
            anomaly = anomaly.origin
        return (None if _finite(output) else anomaly.layer), anomaly
    return None, None


def _finite(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_finite, value))
    array = value.data if isinstance(value, Tensor) else value
    return not (hasattr(array, "dtype") and array.dtype.kind == "f") or bool(np.isfinite(array).all())
