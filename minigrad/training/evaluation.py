"""Metrics of a model: whether more or less of each is better, and their means over a dataset."""

from __future__ import annotations

import contextlib
import functools
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..autograd.as_array import as_array
from ..autograd.modes import no_grad
from ..autograd.tensor import Tensor
from ..checks import unknown, whole
from ..data import Dataset
from ..data.dataset import as_dataset
from ..devices.arrays import device_of, is_array, to_device
from ..nn import CrossEntropyLoss, Module, NLLLoss
from ..nn.functional import cross_entropy, nll_loss
from ..nn.inspection import restoring

Array = npt.NDArray[Any]
Loss = Callable[[Any, Any], Any]
# From the output and the labels of a batch to the sum over its rows.
Metric = Callable[[Array, Array], float]
F = TypeVar("F", bound=Callable[..., Any])

EVALUATED = 1024  # rows at a time
DIRECTIONS = ("min", "max")
PARTS = ("train", "held_out")


def metric(direction: str | None = None, /, **directions: str) -> Callable[[F], F]:
    """Declare whether more or less of a metric is better, so that it can be monitored::

        @training.metric("max")
        def top3(output, labels): ...

        @training.metric(fid="min", precision="max")
        def held_out(model): ...  # for fit(evaluate=held_out), which returns these numbers by name

    Args:
        direction: ``"min"`` if less is better, or ``"max"``.
        directions: likewise for each number that a function returns by name.

    Raises:
        ValueError: for another direction.
        TypeError: for none, or both.

    >>> error = training.metric("min")(lambda output, labels: (output.argmax(1) != labels).sum())
    >>> error.direction
    'min'
    """
    if (direction is None) == (not directions):
        raise TypeError('metric: needs a direction, as in metric("max"), or some by name, as in metric(mse="min")')
    for name, each in {"direction": direction, **directions}.items():
        if each is not None or name in directions:
            _check(f"metric: {name}", each)

    def declare(function: F) -> F:
        if isinstance(function, str) or not callable(function):
            raise TypeError(f"metric: needs a function to declare the direction of, not {function!r}")

        @functools.wraps(function)
        def declared(*args: Any) -> Any:
            return function(*args)

        if direction is None:
            declared.directions = dict(directions)  # type: ignore[attr-defined]
        else:
            declared.direction = direction  # type: ignore[attr-defined]
        return declared  # type: ignore[return-value]

    return declare


def _check(what: str, direction: Any) -> str:
    if direction not in DIRECTIONS:
        raise ValueError(f"{what}: {unknown('direction', str(direction), DIRECTIONS)}")
    return str(direction)


def directions_of(metrics: Mapping[str, Any], evaluate: Any = None) -> dict[str, str | None]:
    """Return whether more or less is better for each metric, without its part; None if it is not declared.

    The loss is minimized. Other names have the direction of their function in ``metrics``, or the one that the function
    ``evaluate`` declares.

    Raises:
        ValueError: for a direction that is not one, or a metric named ``loss``.
    """
    if "loss" in metrics:
        raise ValueError("fit: a metric cannot be named 'loss', which is the name of the loss")
    found = {name: getattr(function, "direction", None) for name, function in metrics.items()}
    found |= getattr(evaluate, "directions", {})
    checked = {name: each if each is None else _check(f"the metric {name!r}", each) for name, each in found.items()}
    return {"loss": "min", **checked}


def without_part(name: str) -> str:
    """Return the name of a metric without the part of the data: ``loss`` for ``held_out_loss``."""
    return next((name.removeprefix(f"{part}_") for part in PARTS if name.startswith(f"{part}_")), name)


def is_better(direction: str, value: float, best: float | None) -> bool:
    """Whether a value of a metric is better than the best one so far. NaN is never better."""
    if math.isnan(value) or best is None:
        return not math.isnan(value)
    return value < best if direction == "min" else value > best


def best_of(direction: str, values: Iterable[float]) -> tuple[int, float] | None:
    """Return the index of the first of the best values, and the value; None if all are NaN."""
    best: tuple[int, float] | None = None
    for place, value in enumerate(values):
        if is_better(direction, value, None if best is None else best[1]):
            best = place, value
    return best


# --- evaluating ------------------------------------------------------------------------------------------------------


@metric("max")
def correct(output: Array, labels: Array) -> float:
    """Count the rows whose largest output is at their label: the metric ``accuracy`` of a classifier.

    >>> int(training.correct(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])))
    1
    """
    hits: float = (output.argmax(1) == labels).sum()
    return hits


def check_instance(what: str, value: Any) -> None:
    """Raise TypeError for a class in place of an instance; a loss may be any function, but not a class."""
    if isinstance(value, type):
        raise TypeError(f"{what} must be an instance: {value.__name__}(...), not the class {value.__name__}")


def check_measured(owner: str, model: Any, loss: Any, metrics: Any) -> None:
    """Raise TypeError unless these are a model, a loss and metrics or None."""
    check_instance(f"{owner}: model", model)
    if not isinstance(model, Module):
        raise TypeError(f"{owner}: model must be a Module, such as nn.MLP([2, 8, 3]), not {kind_of(model)}")
    check_instance(f"{owner}: loss", loss)
    if not callable(loss):
        raise TypeError(
            f"{owner}: loss must be a function of output and labels, such as nn.functional.cross_entropy, "
            f"not {kind_of(loss)}"
        )
    if metrics is None:
        return
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f'{owner}: metrics must be functions by name, such as {{"accuracy": training.correct}}, '
            f"not {kind_of(metrics)}"
        )
    for name, function in metrics.items():
        if not isinstance(name, str):
            raise TypeError(f"{owner}: the name of a metric must be text, not {kind_of(name)}")
        check_instance(f"{owner}: the metric {name!r}", function)
        if not callable(function):
            raise TypeError(
                f"{owner}: the metric {name!r} must be a function of output and labels, such as training.correct, "
                f"not {kind_of(function)}"
            )


def kind_of(value: Any) -> str:
    """Return the type of a value with its article, such as "a tuple"."""
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def as_number(what: str, value: Any) -> float:
    """Return the value of a metric, a number or an array or tensor of one number, as a Python number.

    Raises:
        TypeError: for anything else; it names the metric.
    """
    found = value
    if hasattr(value, "item"):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # of more than one element
            found = value.item()
    if isinstance(found, numbers.Real):
        return found if isinstance(found, int) else float(found)
    shape = f" of shape {value.shape}" if hasattr(value, "shape") else ""
    raise TypeError(f"{what} must be one number, not {type(value).__name__}{shape}; add it up, as in .sum()")


def adds_up(loss: Any) -> bool:
    """Whether a loss is the sum over the rows, by its ``reduction``, rather than their mean."""
    if isinstance(loss, functools.partial):
        return loss.keywords["reduction"] == "sum" if "reduction" in loss.keywords else adds_up(loss.func)
    return bool(getattr(loss, "reduction", "mean") == "sum")


def divisor(loss: Any, labels: Array) -> float:
    """Return the divisor of the mean of a loss over a batch.

    It is the number of rows. For cross entropy and `nll_loss` with class numbers, also as modules and partial
    functions, it is the sum of the class weights of the labels that are not ignored.
    """
    settings: dict[str, Any] = {}
    while isinstance(loss, functools.partial):
        loss, settings = loss.func, {**loss.keywords, **settings}
    if getattr(type(loss), "forward", None) in (CrossEntropyLoss.forward, NLLLoss.forward):
        settings = {"weight": loss.weight, "ignore_index": loss.ignore_index}
    elif loss is not cross_entropy and loss is not nll_loss:
        return len(labels)
    if labels.dtype.kind in "fc":
        return len(labels)
    counted = labels != settings.get("ignore_index", -100)
    weight = settings.get("weight")
    if weight is None:
        return int(np.count_nonzero(counted))
    weights = to_device(as_array(weight), device_of(labels))
    return float((weights[labels.clip(0, len(weights) - 1)] * counted).sum())  # the loss refuses other classes


def evaluate(
    model: Module,
    dataset: Dataset,
    loss: Loss,
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int = EVALUATED,
) -> dict[str, float]:
    """Compute the mean loss and the mean metrics over the rows of a dataset, in evaluation mode.

    The loss equals the loss of one batch of all rows: with class weights it is a weighted mean, and ignored labels do
    not count.

    Args:
        model: any module. Its modes, its buffers and the state of `minigrad.random` are restored.
        dataset: the rows.
        loss: the mean loss of outputs and labels, or the sum if its ``reduction`` is ``"sum"``.
        metrics: for each name a function from output and labels to a sum over the rows.
        batch_size: rows at a time, on the device of the model. The rows keep the dataset's order.

    >>> model, digits = nn.MLP([64, 10]), data.load_digits()
    >>> result = training.evaluate(model, digits, nn.functional.cross_entropy, {"accuracy": training.correct})
    >>> sorted(result)
    ['accuracy', 'loss']
    """
    check_measured("evaluate", model, loss, metrics)
    if not hasattr(dataset, "__getitem__") or isinstance(dataset, tuple | Tensor) or is_array(dataset):
        raise TypeError(
            f"evaluate: dataset must be a Dataset, such as Dataset(features, labels) or loader.dataset, "
            f"not {kind_of(dataset)}"
        )
    batch_size = whole("evaluate", "batch_size", batch_size)
    dataset = as_dataset(dataset)
    device = next((parameter.device for parameter in model.parameters()), dataset.device)
    total, count, sums = 0.0, 0.0, dict.fromkeys(metrics or {}, 0.0)
    with restoring(model), no_grad():
        model.eval()
        for start in range(0, len(dataset), batch_size):
            features, labels = (to_device(array, device) for array in dataset[start : start + batch_size])
            output = model(Tensor(features))
            value = loss(output, Tensor(labels)).item()
            size = divisor(loss, labels)
            total += value * (1 if adds_up(loss) else size)
            count += size
            for name, function in (metrics or {}).items():
                sums[name] += as_number(f"evaluate: the metric {name!r}", function(output.data, labels))
    means = {name: value / len(dataset) for name, value in sums.items()}
    return {"loss": total / count if count else math.nan, **means}
