"""The runs on which findings are judged: short trainings, from hopeless ones to as good as these models get.

As a program, it trains all of them, follows the advice of the findings until none is left, and prints a table::

    PYTHONPATH=. python tests/study/judged_runs.py
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minigrad import data, manual_seed, nn, no_grad, optim, study, tensor, training
from minigrad.training._blas import one_blas_thread

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": functools.partial(optim.SGD, momentum=0.9),
    "Adam": optim.Adam,
    "RAdam": optim.RAdam,
    "LAMB": optim.LAMB,
    "RMSprop": optim.RMSprop,
    "Adagrad": optim.Adagrad,
    "Lion": optim.Lion,
}
RATES = (1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2, 0.1, 0.316, 1.0)


@dataclass(frozen=True)
class Judged:
    """A run: an optimizer and its rate, and how it differs from 5 epochs of an MLP of two layers on the digits."""

    optimizer: str
    lr: float
    epochs: int = 5
    sizes: tuple[int, ...] = (64, 64, 10)
    activation: str = "relu"
    fault: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        more = [f"{name} {value:g}" for name, value in self.options.items()]
        more += [f"{len(self.sizes) - 1} {self.activation} layers"] if len(self.sizes) > 3 else []
        more += [f"{self.epochs} epochs"] if self.epochs != 5 else []
        return " ".join([self.optimizer, f"{self.lr:.3g}", *more, self.fault]).strip()

    def make(self, parameters: Any) -> optim.Optimizer:
        """The optimizer of this run."""
        kind = OPTIMIZERS.get(self.optimizer) or getattr(optim, self.optimizer)
        return kind(parameters, lr=self.lr, **self.options)


def _scale(factor: float, model: nn.Module) -> None:
    for layer in (each for each in model if isinstance(each, nn.Linear)):
        layer.weight.data = layer.weight.data * factor


def _kill(model: nn.Module) -> None:
    model[0].bias.data = model[0].bias.data - 100


SPOILED = {
    "large weights": functools.partial(_scale, 10),
    "small weights": functools.partial(_scale, 0.01),
    "dead": _kill,
}


def deep(layers: int, width: int) -> tuple[int, ...]:
    """The sizes of a deep MLP for the digits."""
    return (64, *[width] * (layers - 1), 10)


SWEEP = [Judged(name, lr) for name in OPTIMIZERS for lr in RATES]
SLOW = [Judged(name, 1e-7) for name in OPTIMIZERS]
DEEP = [
    *(Judged("SGD", 0.1, sizes=deep(14, 32), activation=each) for each in ("sigmoid", "tanh", "relu")),
    *(Judged("Adam", 1e-3, sizes=deep(14, 32), activation=each) for each in ("sigmoid", "tanh", "relu")),
    Judged("Adam", 1e-3, epochs=1, sizes=deep(50, 16)),
    Judged("SGD", 0.01, epochs=1, sizes=deep(50, 16), activation="sigmoid"),
]
FAULTY = [
    *(
        Judged(name, lr, fault=fault)
        for fault in (*SPOILED, "large inputs")
        for name, lr in (("Adam", 3e-3), ("SGD", 0.03))
    ),
    Judged("SGD", 0.03, fault="shuffled labels"),
]
DECAY = [
    *(Judged("AdamW", 3e-3, 10, options={"weight_decay": value}) for value in (0.01, 0.1, 1.0, 10.0, 30.0)),
    *(Judged("SGD", 0.1, 10, options={"weight_decay": value}) for value in (1e-4, 1e-3, 0.01)),
    *(Judged("AdamW", 1e-2, 400, fault="grokking", options={"weight_decay": value}) for value in (0.0, 1.0)),
]  # fmt: skip
LONG = [Judged("Adam", 0.01, 20), Judged("SGD", 0.1, 20), Judged("LAMB", 0.01, 20), Judged("LAMB", 0.0316, 10)]
RUNS = [*SWEEP, *SLOW, *DEEP, *FAULTY, *DECAY, *LONG]


def train(run: Judged) -> tuple[float, study.Recording]:
    """The accuracy on held-out data after the training, and its recording."""
    manual_seed(0)
    parts, rows, options = (
        (sums(), None, {"loss": nn.functional.mse_loss}) if run.fault == "grokking" else (digits(), 32, {})
    )
    model = Squared(46, 128, 23) if run.fault == "grokking" else nn.MLP(list(run.sizes), activation=run.activation)
    SPOILED.get(run.fault, lambda model: None)(model)
    if run.fault == "large inputs":
        parts = [data.Dataset(each.features * 1000, each.labels) for each in parts]
    if run.fault == "shuffled labels":
        parts = [data.Dataset(each.features, np.random.default_rng(0).permutation(each.labels)) for each in parts]
    optimizer = run.make(model.parameters())
    loader = data.DataLoader(parts[0], batch_size=rows or len(parts[0]), shuffle=rows is not None, seed=0)
    recorder = study.Recorder(model, optimizer, every=10)
    with np.errstate(all="ignore"), one_blas_thread(), contextlib.suppress(training.NonFiniteLossError):
        training.fit(model, optimizer, loader, epochs=run.epochs, callbacks=[recorder], **options)
    with np.errstate(all="ignore"), no_grad():
        outputs = model(tensor(parts[1].features)).numpy().argmax(axis=1)
    labels = parts[1].labels
    return float((outputs == (labels if labels.ndim == 1 else labels.argmax(axis=1))).mean()), recorder.recording


@functools.cache
def digits() -> Sequence[data.Dataset]:
    """Digits to train on, and 359 that are held out."""
    return data.stratified_split(data.load_digits(), 0.2, 0)


class Squared(nn.Module):
    """W₂ (W₁ x)², which learns to add modulo a prime (Gromov, arXiv 2301.02679)."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)

    def forward(self, x: Any) -> Any:
        return self.last(self.first(x) ** 2)


@functools.cache
def sums(prime: int = 23) -> Sequence[data.Dataset]:
    """All sums of two numbers modulo a prime, 60 % of them to train on."""
    a, b = np.divmod(np.random.default_rng(0).permutation(prime**2), prime)
    one = np.eye(prime, dtype=np.float32)
    x, y = np.concatenate([one[a], one[b]], axis=1), one[(a + b) % prime]
    cut = int(0.6 * len(x))
    return data.Dataset(x[:cut], y[:cut]), data.Dataset(x[cut:], y[cut:])


def follow(run: Judged, findings: Sequence[study.Finding]) -> Judged | None:
    """The run that takes the first advice about a number, of the findings as severe as the worst, but no notes."""
    for text in (each.sentence.lower() for each in findings if each.severity == findings[0].severity != "note"):
        if factor := re.search(r"multiply the learning rate by about (\S+),", text):
            return replace(run, lr=run.lr * float(factor[1]))
        if re.search(r"halve (the|its) learning rate(?! of)", text):
            return replace(run, lr=run.lr / 2)
        if "double the learning rate" in text:
            return replace(run, lr=run.lr * 2)
        if "divide weight_decay by 10" in text:
            return replace(run, options={**run.options, "weight_decay": run.options["weight_decay"] / 10})
    return None


def main(most: int = 15) -> None:
    """Print the table."""
    for run in RUNS:
        now: Judged | None = run
        path = []
        while now is not None and len(path) <= most:
            accuracy, recording = train(now)
            findings = study.findings(recording)
            path.append(accuracy)
            if now is run:
                shown = ", ".join(f"{each.severity[0]}:{each.kind}" for each in findings)
            now = follow(now, findings)
        print(f"{run!s:42} {' -> '.join(f'{each:.3f}' for each in path):60} {shown}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
