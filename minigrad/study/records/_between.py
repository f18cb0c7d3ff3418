"""Checks of a training as a whole: its optimizer, parameters moved by other code, gradients never cleared, the cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...autograd.hooks import Hooks
from ...autograd.tensor import Tensor
from ...devices.arrays import to_host
from ...nn import Module, Parameter
from ...optim import Lookahead, Optimizer

# The cosine from which on a gradient contains another: a sum of many, and the same sum with one more.
ALIKE = 0.9
# The relative difference of two steps that are the same, but for the ε that is added to a root.
SAME = 1e-3
# The largest cost of recording, as a share of the time of training without it.
BUDGET = 0.05


def is_scale_free(optimizer: Optimizer) -> bool:
    """Whether gradients twice as long give the same steps, apart from clips and decay: its chain is run on both.

    The last of several steps decides, since RAdam begins with plain momentum.
    """
    optimizer = optimizer.base if isinstance(optimizer, Lookahead) else optimizer
    replaced = {"lr": 1e-2, "weight_decay": 1e-12}  # a decay of 0 would be another chain
    for clip in optimizer.clips:  # so high that they do not act
        replaced |= {name: float(np.copysign(1e15, each.value)) for name, each in clip.declared.items()}
    clips = tuple(replace(clip, exclude=clip.exclude and (lambda name, parameter: True)) for clip in optimizer.clips)
    group = optimizer.param_groups[0]
    options = {name: value for name, value in group.items() if name in optimizer.defaults}
    options |= {name: value for name, value in replaced.items() if options.get(name)}
    generator = np.random.default_rng(0)
    first, gradients = generator.standard_normal((4, 4)), generator.standard_normal((8, 4, 4))
    dtype = optimizer.store.buffers[0].data.dtype  # for which its kernel is compiled
    changes = []
    for scale in (1.0, 2.0):
        weight = Parameter(first.astype(dtype))
        saved = {"groups": [{**options, "params": [("weight", weight)]}], "restored": ({"weight": {"step": 0}}, (), {})}
        hooks = {name: Hooks() for name in ("_pre_hooks", "_update_hooks", "_post_hooks")}
        twin = Optimizer.__new__(type(optimizer))
        twin.__setstate__({**optimizer.__getstate__(), **hooks, "_clips": clips, "periodic": (), "_saved": saved})
        for gradient in gradients:
            before = weight.data.copy()
            weight.grad = Tensor((scale * gradient).astype(dtype))
            twin.step()
        changes.append(weight.data - before)
    return bool(np.linalg.norm(changes[1] - changes[0]) <= SAME * np.linalg.norm(changes[0]))


class LeftOut:
    """Parameters of a model that require a gradient, but that the optimizer does not hold and nothing else moves."""

    def __init__(self, model: Module, optimizer: Optimizer) -> None:
        held = {id(entry.parameter) for entry in optimizer.store.entries.values()}
        self._others = [
            (name, parameter._version, parameter._version[0])
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and id(parameter) not in held
        ]

    def names(self) -> list[str]:
        """Those that have not changed since."""
        return [name for name, version, before in self._others if version[0] == before]


class Gradient:
    """The gradient that a step has used, to see whether the next one is added to it."""

    def __init__(self, optimizer: Optimizer) -> None:
        parameters = (entry.parameter for entry in optimizer.store.entries.values())
        self._parameter = next((p for p in parameters if p._grad is not None), None)
        self._kept: Tensor | None = None if self._parameter is None else self._parameter._grad
        self._values = _flat(self._kept)

    def was_kept(self) -> bool:
        """Whether the gradient now is a sum that contains it."""
        if self._parameter is None or self._kept is None or self._parameter._grad is not self._kept:
            return False
        now = _flat(self._kept)
        sizes = float(np.linalg.norm(now)) * float(np.linalg.norm(self._values))
        return 0 < sizes < np.inf and float(now @ self._values) > ALIKE * sizes


def _flat(gradient: Tensor | None) -> Any:
    return np.zeros(0) if gradient is None else to_host(gradient._data).astype(np.float64).ravel()


@dataclass
class Cost:
    """The time that recording takes.

    Attributes:
        steps, records: their counts.
        spent: the seconds that the records took.
        counting: the seconds that counting clips took in recorded steps, where it is timed.
        elapsed: the seconds from each beginning to its end.
    """

    steps: int = 0
    records: int = 0
    spent: float = 0.0
    counting: float = 0.0
    elapsed: float = 0.0
    _began: float | None = None

    def begin(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def end(self) -> None:
        """Stop the clock."""
        if self._began is not None:
            self.elapsed += time.perf_counter() - self._began
            self._began = None

    def _total(self) -> tuple[float, float]:
        """The seconds of recording, including an estimate for counting in other steps, and of everything else."""
        running = 0.0 if self._began is None else time.perf_counter() - self._began
        spent = self.spent + (self.counting * self.steps / self.records if self.records else 0.0)
        return spent, max(self.elapsed + running - spent, 1e-9)

    def share(self) -> float:
        """The seconds of recording over all other seconds."""
        spent, others = self._total()
        return spent / others

    def describe(self, interval: int, option: str = "every=") -> str:
        """The cost as text; if it is above `BUDGET`, with the interval that would be below.

        Args:
            interval: the steps from one record to the next.
            option: how the reader sets another interval.
        """
        if not self.records:
            return f"recording every {interval} steps; none yet"
        each, share = self.spent / self.records, self.share()
        text = (
            f"{self.records:,} of {self.steps:,} steps recorded (every {interval}), {each * 1e3:.2f} ms each: "
            f"{share:.1%} on top of the {self._total()[1]:.2f} s of training"
        )
        if share > BUDGET:
            wanted = max(interval + 1, round(interval * share / BUDGET))
            text += f"; {option}{wanted} would bring it below {BUDGET:.0%}"
        return text
