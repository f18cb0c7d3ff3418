"""Where a loss that is not finite came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import random
from ..modes import no_grad
from ..nn import Module
from ..tensor import Tensor


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; the text says at which step, and which layer first.

    Attributes:
        step: the step that was not taken, counted from 1.
        layer: the name of the layer, empty for the model itself, or ``None`` if only the loss is not finite.
    """

    def __init__(self, text: str, step: int, layer: str | None) -> None:
        super().__init__(text)
        self.step, self.layer = step, layer


def explain_nonfinite(model: Module, features: Any, loss: float, step: int, epoch: int) -> NonFiniteLossError:
    """The error for a loss that is not finite: the model runs once more, and each layer is looked at.

    Buffers and random numbers are as before afterwards.
    """
    layer, cause = _first_nonfinite(model, features)
    text = f"the loss is {loss} at step {step} (epoch {epoch}); {cause}"
    return NonFiniteLossError(text, step, layer)


def _first_nonfinite(model: Module, features: Any) -> tuple[str | None, str]:
    found: list[tuple[str, str]] = []
    if not _finite(features):
        return None, "the features of the batch are not finite"
    modules = [(name, module) for name, module in model.named_modules() if not module._modules or module._parameters]

    def hook(name: str) -> Any:
        def look(module: Module, args: tuple[Any, ...], output: Any) -> None:
            if not found and not _finite(output):
                bad = [p for p, value in module._parameters.items() if not np.isfinite(value.data).all()]
                title = f"layer {name!r} ({type(module).__name__})" if name else type(module).__name__
                why = f", whose {' and '.join(bad)} had become so" if bad else ""
                found.append((name, f"{title} was the first with values that are not finite{why}"))

        return look

    handles = [module.register_forward_hook(hook(name)) for name, module in modules]
    generator, buffers = random.get_state(), {name: tensor.data.copy() for name, tensor in model.named_buffers()}
    try:
        with no_grad():
            model(features)
    finally:
        for handle in handles:
            handle.remove()
        random.set_state(generator)
        for name, tensor in model.named_buffers():
            tensor.data = buffers[name]
    return found[0] if found else (None, "every layer is finite, so the loss function is where it happened")


def _finite(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_finite, value))
    array = value.data if isinstance(value, Tensor) else value
    return not (isinstance(array, np.ndarray) and array.dtype.kind == "f") or bool(np.isfinite(array).all())
