"""Evaluating a model on a dataset."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Dataset
from ..data.dataset import as_dataset
from ..devices import to_device
from ..modes import no_grad
from ..nn import Module
from ..tensor import Tensor
from .metrics import metric

Array = npt.NDArray[Any]
Loss = Callable[[Any, Any], Any]
# From the output and the labels of a batch to the sum over its rows.
Metric = Callable[[Array, Array], float]


@metric("max")
def correct(output: Array, labels: Array) -> int:
    """How many rows have their largest output at their label: the metric ``accuracy`` of a classifier.

    >>> training.correct(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    1
    """
    return int(np.count_nonzero(output.argmax(1) == labels))


def adds_up(loss: Any) -> bool:
    """Whether a loss is the sum over the rows, by its ``reduction``, and not their mean."""
    if isinstance(loss, functools.partial):
        return loss.keywords["reduction"] == "sum" if "reduction" in loss.keywords else adds_up(loss.func)
    return bool(getattr(loss, "reduction", "mean") == "sum")


def evaluate(
    model: Module, dataset: Dataset, loss: Loss, metrics: Mapping[str, Metric] | None = None, batch_size: int = 1024
) -> dict[str, float]:
    """The mean loss and the mean metrics over the rows of a dataset, in evaluation mode.

    Args:
        model: any module; each of its parts is in the mode that it was in afterwards.
        dataset: what to evaluate on.
        loss: the mean loss of outputs and labels, or their sum where its ``reduction`` is ``"sum"``.
        metrics: for each name a function from output and labels to a sum over the rows.
        batch_size: rows at a time, on the device of the model. The order of the rows is that of the dataset.

    >>> model, digits = nn.MLP([64, 10]), data.load_digits()
    >>> result = training.evaluate(model, digits, nn.functional.cross_entropy, {"accuracy": training.correct})
    >>> sorted(result)
    ['accuracy', 'loss']
    """
    dataset = as_dataset(dataset)
    modes = [(module, module.training) for module in model.modules()]
    device = next((parameter.device for parameter in model.parameters()), dataset.device)
    model.eval()
    total, sums = 0.0, dict.fromkeys(metrics or {}, 0.0)
    try:
        with no_grad():
            for start in range(0, len(dataset), batch_size):
                features, labels = (to_device(array, device) for array in dataset[start : start + batch_size])
                output = model(Tensor(features))
                total += loss(output, Tensor(labels)).item() * (1 if adds_up(loss) else len(labels))
                for name, function in (metrics or {}).items():
                    sums[name] += function(output.data, labels)
    finally:
        for module, training in modes:
            module.training = training
    return {name: value / len(dataset) for name, value in {"loss": total, **sums}.items()}
