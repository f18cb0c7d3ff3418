"""ReduceLROnPlateau: less learning rate when a metric no longer improves."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, SupportsFloat

import numpy as np
import numpy.typing as npt

from ..optim import Optimizer
from .preview import draw
from .schedule import check_choice, check_number, check_step, check_whole
from .scheduler import check_kind, check_optimizer, check_same, check_values


class ReduceLROnPlateau:
    """Multiply the learning rate by factor when the metric was no better for more than patience steps.

    A metric a is better than the best b so far where, by ``threshold_mode`` and ``mode``::

        rel, min:  a < b(1 - threshold)        rel, max:  a > b(1 + threshold)
        abs, min:  a < b - threshold           abs, max:  a > b + threshold

    NaN is never better, as in PyTorch: a run that diverges counts as one that does not improve.

    Args:
        optimizer: its param groups are followed, those too that are added later.
        mode: ``"min"`` if a smaller metric is better, or ``"max"``.
        factor: in [0, 1).
        patience: how many bad steps are allowed.
        threshold: how much counts as better.
        threshold_mode: ``"rel"`` or ``"abs"``.
        cooldown: how many steps after a reduction are not counted as bad.
        min_lr: no rate goes below it; a number, or a list with one for each group.
        eps: a reduction by no more than this is left out.

    Attributes:
        best: the best metric so far.
        num_bad_epochs: steps since then.
        cooldown_counter: steps left of the cooldown.
        last_epoch: how many metrics there were.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (1.0, 0.9, 0.9, 0.9, 0.9):
    ...     scheduler.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.4
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        owner = type(self).__name__
        self.optimizer = check_optimizer(owner, optimizer)
        self.mode = check_choice(owner, "mode", mode, ("min", "max"))
        self.factor = check_number(owner, "factor", factor, low=0)
        if self.factor >= 1:
            raise ValueError(f"{owner}: factor must be below 1, not {factor!r}")
        self.patience = check_whole(owner, "patience", patience, low=0)
        self.threshold = check_number(owner, "threshold", threshold, low=0)
        self.threshold_mode = check_choice(owner, "threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = check_whole(owner, "cooldown", cooldown, low=0)
        self.min_lr: float | list[float] = (
            [check_number(owner, "min_lr", each, low=0) for each in min_lr]
            if isinstance(min_lr, Sequence)
            else check_number(owner, "min_lr", min_lr, low=0)
        )
        self.eps = check_number(owner, "eps", eps, low=0)
        self._worst = math.inf if mode == "min" else -math.inf
        self.best = self._worst
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._min_lrs()
        self._last_lr = [float(group["lr"]) for group in optimizer.param_groups]
        self._enter()

    def _min_lrs(self) -> list[float]:
        groups = len(self.optimizer.param_groups)
        if not isinstance(self.min_lr, list):
            return [self.min_lr] * groups
        if len(self.min_lr) != groups:
            raise ValueError(
                f"ReduceLROnPlateau: min_lr has {len(self.min_lr)} numbers for {groups} param groups; "
                "give one number for all of them, or one for each (append to scheduler.min_lr)"
            )
        return self.min_lr

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:
        """Take note of a metric, and reduce the rates if it is time.

        Args:
            metrics: a number, or a tensor of one element.
            epoch: the number of this metric; by default the next one.

        Raises:
            TypeError: for something that is no number.
        """
        metric = float(metrics)
        epoch = self.last_epoch + 1 if epoch is None else math.floor(check_step("ReduceLROnPlateau", epoch))
        lowest = self._min_lrs()
        if self._observe(metric):
            rates = self._reduced([float(group["lr"]) for group in self.optimizer.param_groups], lowest)
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
        self.last_epoch = epoch
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]

    def _observe(self, metric: float) -> bool:
        """Update the counters; whether it is time to reduce."""
        if self._is_better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs <= self.patience:
            return False
        self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        return True

    def _is_better(self, metric: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            return sign * metric > sign * (self.best * (1 + sign * self.threshold))
        return sign * metric > sign * (self.best + sign * self.threshold)

    def _reduced(self, rates: Sequence[float], lowest: Sequence[float]) -> list[float]:
        reduced = [max(rate * self.factor, low) for rate, low in zip(rates, lowest, strict=True)]
        return [new if old - new > self.eps else old for old, new in zip(rates, reduced, strict=True)]

    def _enter(self) -> None:
        """Let the optimizer know who sets its options."""
        self.optimizer._schedulers.append(weakref.ref(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._enter()

    def get_last_lr(self) -> list[float]:
        """The learning rate after the last step, for each param group."""
        return list(self._last_lr)

    def origins(self, group: int) -> dict[str, str | None]:
        """In words, how the learning rate of a param group came by its value; None if another has set it since."""
        if group >= len(self._last_lr):  # added since
            return {}
        if self.optimizer.param_groups[group]["lr"] != self._last_lr[group]:
            return {"lr": None}
        return {"lr": f"ReduceLROnPlateau after {self.last_epoch} metrics, the best {self.best!r}"}

    def preview(
        self, metrics: Iterable[SupportsFloat], path: str | PathLike[str] | None = None
    ) -> dict[str, npt.NDArray[np.float64]]:
        """The curve under supposed metrics; neither the scheduler nor the optimizer changes.

        Args:
            metrics: one for each step that is supposed.
            path: where to draw the curve to, in the format of the file's suffix.

        Returns:
            ``"lr"``, an array (param groups, 1 + metrics): the rate now, then that after each metric.
        """
        if not isinstance(metrics, Iterable):
            raise TypeError(f"ReduceLROnPlateau.preview: needs the metrics that are supposed, not {metrics!r:.40}")
        counters = (self.best, self.num_bad_epochs, self.cooldown_counter)
        rows, lowest = [[float(group["lr"]) for group in self.optimizer.param_groups]], self._min_lrs()
        try:
            for metric in metrics:
                rows.append(self._reduced(rows[-1], lowest) if self._observe(float(metric)) else rows[-1])
        finally:
            self.best, self.num_bad_epochs, self.cooldown_counter = counters
        curves = {"lr": np.array(rows).T}
        if path is not None:
            draw(curves, self.last_epoch + np.arange(len(rows), dtype=np.float64), path)
        return curves

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, in plain values that JSON can hold."""
        return {
            "scheduler": type(self).__name__,
            "settings": repr(self),
            "last_epoch": self.last_epoch,
            "best": None if self.best == self._worst else self.best,
            "num_bad_epochs": self.num_bad_epochs,
            "cooldown_counter": self.cooldown_counter,
            "lr": [float(group["lr"]) for group in self.optimizer.param_groups],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another run was; before or after the optimizer loads its own state dict.

        Raises:
            ValueError: for the state of another scheduler, of other settings or param groups, or for missing or
                unknown keys; then nothing has changed.
        """
        owner = type(self).__name__
        counters = ("last_epoch", "num_bad_epochs", "cooldown_counter")
        check_kind(owner, state_dict, (*counters, "settings", "best", "lr"))
        check_same(owner, "the scheduler", state_dict["settings"], repr(self))
        counted = [check_whole(owner, name, state_dict[name], low=0) for name in counters]
        rates = check_values(owner, "lr", state_dict["lr"], self.optimizer)
        best = self._worst if state_dict["best"] is None else float(state_dict["best"])
        for rate in rates:
            check_number(owner, "lr", rate, low=0)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.last_epoch, self.num_bad_epochs, self.cooldown_counter = counted
        self.best, self._last_lr = best, rates

    def __repr__(self) -> str:
        names = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps")
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"
