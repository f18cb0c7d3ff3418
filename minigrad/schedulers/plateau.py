"""ReduceLROnPlateau: reduce the learning rate when a metric stops improving."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, SupportsFloat

import numpy as np

from ..attributes import fixed, setting
from ..checks import choice, number, same_value, whole
from ..optim import Optimizer
from ._option import Option, Track
from .schedule import check_step
from .scheduler import (
    Curves,
    OptionSetter,
    Scheduler,
    check_kind,
    check_optimizer,
    check_values,
    draw,
    schedulers_of,
)

__all__ = ["ReduceLROnPlateau"]

_count, _size = partial(whole, least=0), partial(number, low=0)
_SETTINGS = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps")
_COUNTERS = ("last_epoch", "num_bad_epochs", "cooldown_counter")
# By mode, the best metric before the first one.
_WORST = {"min": math.inf, "max": -math.inf}


def _one_or_several(owner: Any, name: str, value: Any) -> float | list[float]:
    return [_size(owner, name, each) for each in value] if isinstance(value, Sequence) else _size(owner, name, value)


def _metric(owner: Any, name: str, value: Any) -> float:
    return number(owner, name, float(value), finite=False)


class ReduceLROnPlateau(OptionSetter):
    """Multiply the learning rate by factor when the metric has not improved for more than patience steps.

    A metric a is better than the best b so far if, by ``threshold_mode`` and ``mode``::

        rel, min:  a < b - threshold · |b|     rel, max:  a > b + threshold · |b|
        abs, min:  a < b - threshold           abs, max:  a > b + threshold

    NaN is never better, as in PyTorch: a run that diverges counts as one that does not improve.

    A reduction is a factor: it persists when other schedulers of the optimizer, such as a warm-up, take their steps.

    Args:
        optimizer: its learning rates are reduced.
        mode: ``"min"`` or ``"max"``: whether less or more of the metric is better; by default ``"min"``.
            `minigrad.training.fit` chooses the monitored metric's direction if it is left out.
        factor: in [0, 1).
        patience: how many bad steps in a row are tolerated.
        threshold: the least change that counts, 0 or more.
        threshold_mode: ``"rel"`` or ``"abs"``.
        cooldown: for how many steps after a reduction bad steps do not count.
        min_lr: a lower limit of the rates; a number, or a list with one for each group.
        eps: a reduction by no more than this is skipped.

    Attributes:
        best: the best metric so far.
        num_bad_epochs: steps since then.
        cooldown_counter: the remaining steps of the cooldown.
        last_epoch: the number of metrics so far.

    These and the arguments may be set later, within the same limits, except ``optimizer``, and ``mode`` after the
    first metric.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (1.0, 0.9, 0.9, 0.9, 0.9):
    ...     scheduler.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.4
    """

    optimizer = fixed(lambda owner, name, value: check_optimizer(type(owner).__name__, value))
    factor = setting(partial(number, low=0, below=1))
    patience = setting(_count)
    threshold = setting(_size)
    threshold_mode = setting(partial(choice, known=("rel", "abs")))
    cooldown = setting(_count)
    min_lr = setting(_one_or_several)
    eps = setting(_size)
    num_bad_epochs = setting(_count)
    cooldown_counter = setting(_count)
    last_epoch = setting(_count)

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str | None = None,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer = optimizer
        self._adopted = "min"  # the mode, unless the user has chosen one
        self._mode = None if mode is None else choice(self, "mode", mode, _WORST)
        self._best: float | None = None
        self.factor, self.patience, self.cooldown = factor, patience, cooldown
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.min_lr, self.eps = min_lr, eps
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._option = Option("lr", "lr", None)
        self._options = {"lr": self._option}
        self._lowest()
        self._remember()
        self._enter()

    # --- the direction of the metric ---------------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        """``"min"`` or ``"max"``; it may be set before the first metric."""
        return self._mode or self._adopted

    @mode.setter
    def mode(self, value: str) -> None:
        mode = choice(self, "mode", value, _WORST)
        if mode != self.mode and self._best is not None:
            kind = type(self).__name__
            raise AttributeError(f"{kind}: mode cannot be set after the first metric; make another {kind}")
        self._mode = mode

    @property
    def best(self) -> float:
        """The best metric so far; at first the worst number."""
        return _WORST[self.mode] if self._best is None else self._best

    @best.setter
    def best(self, value: float) -> None:
        best = _metric(self, "best", value)
        self._best = None if best == _WORST[self.mode] else best

    def adopt(self, mode: str, metric: str) -> None:
        """Take the direction of a metric for the mode; `minigrad.training.fit` does so before it trains.

        Args:
            mode: ``"min"`` if less of the metric is better, or ``"max"``.
            metric: its name.

        Raises:
            ValueError: if the scheduler was made with the other mode, or has already received metrics.
        """
        if mode == self.mode:
            return
        better = "less" if mode == "min" else "more"
        contradiction = f"{type(self).__name__}: mode is {self.mode!r}, but {better} of {metric} is better"
        if self._mode is not None:
            raise ValueError(f"{contradiction}; leave the mode out, or monitor another metric")
        if self._best is not None:
            raise ValueError(f"{contradiction}, and it has already been given metrics; make another one")
        self._adopted = mode

    # --- steps -------------------------------------------------------------------------------------------------------

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:
        """Record a metric, and reduce the rates if it is time.

        Args:
            metrics: a number, or a tensor of one element.
            epoch: the number of this metric; by default the next one.

        Raises:
            TypeError: for a metric that is not a number.
        """
        metric, groups = float(metrics), self.optimizer.param_groups
        epoch = self.last_epoch + 1 if epoch is None else math.floor(check_step(self, epoch))
        lowest = self._lowest()
        if self._observe(metric):
            before = self._rates()
            others = [each for each in schedulers_of(self.optimizer) if isinstance(each, Scheduler)]
            for i, (old, new) in enumerate(zip(before, self._reduced(before, lowest), strict=True)):
                if new != old:
                    groups[i]["lr"] = new
                    for scheduler in others:
                        scheduler._follow("lr", i, old, new)
        self.last_epoch = epoch
        self._remember()

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
        sign, best = -1.0 if self.mode == "min" else 1.0, self.best
        if math.isinf(best):  # a margin of infinity would be NaN
            needed = best
        elif self.threshold_mode == "rel":
            needed = best * (1 + sign * math.copysign(self.threshold, best))
        else:
            needed = best + sign * self.threshold
        return sign * metric > sign * needed

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _lowest(self) -> list[float]:
        """The lower limit of each group's rate."""
        groups = self.optimizer.param_groups
        if not isinstance(self.min_lr, list):
            return [self.min_lr] * len(groups)
        what = f"{type(self).__name__}: min_lr has {len(self.min_lr)} numbers"
        return self._option.one_each(self.min_lr, groups, what, "append to scheduler.min_lr")

    def _reduced(self, rates: Sequence[float], lowest: Sequence[float]) -> list[float]:
        reduced = [max(rate * self.factor, low) for rate, low in zip(rates, lowest, strict=True)]
        return [new if old - new > self.eps else old for old, new in zip(rates, reduced, strict=True)]

    def _remember(self) -> None:
        """Remember the current rates as the ones that this scheduler has set or left."""
        for group, rate in zip(self.optimizer.param_groups, self._rates(), strict=True):
            self._option.took(self._option.track(group), rate)

    def _origin(self, name: str, track: Track, group: int) -> str:
        return f"{type(self).__name__} after {self.last_epoch} metrics, the best {self.best!r}"

    # --- looking ahead -----------------------------------------------------------------------------------------------

    def preview(self, metrics: Iterable[SupportsFloat], path: str | PathLike[str] | None = None) -> Curves:
        """Compute the curve under supposed metrics; neither the scheduler nor the optimizer changes.

        Args:
            metrics: one for each supposed step.
            path: a file to draw the curve to, in the format of its suffix.

        Returns:
            ``"lr"``, an array (param groups, 1 + metrics): the current rate, then the rate after each metric.
        """
        if not isinstance(metrics, Iterable):
            raise TypeError(f"{type(self).__name__}.preview: needs the supposed metrics, not {metrics!r:.40}")
        counters = (self.best, self.num_bad_epochs, self.cooldown_counter)
        rows, lowest = [self._rates()], self._lowest()
        try:
            for metric in metrics:
                rows.append(self._reduced(rows[-1], lowest) if self._observe(float(metric)) else rows[-1])
        finally:
            self.best, self.num_bad_epochs, self.cooldown_counter = counters
        curves = {"lr": np.array(rows).T}
        if path is not None:
            draw(curves, range(self.last_epoch, self.last_epoch + len(rows)), path)
        return curves

    # --- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The current state, in plain values that JSON can hold."""
        infinite = self._best is not None and math.isinf(self._best)  # which JSON does not have
        best = str(self._best) if infinite else self._best
        counters = {name: getattr(self, name) for name in _COUNTERS}
        kind = type(self).__name__
        return {"scheduler": kind, "settings": repr(self), **counters, "best": best, "lr": self._rates()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from the state of another run; before or after the optimizer loads its own state dict.

        Raises:
            ValueError: for the state of another scheduler, of other settings or param groups, or for missing or
                unknown keys; then nothing has changed.
        """
        owner = type(self).__name__
        check_kind(owner, state_dict, (*_COUNTERS, "settings", "best", "lr"))
        same_value(f"{owner}: the scheduler", state_dict["settings"], repr(self))
        counters = [_count(owner, name, state_dict[name]) for name in _COUNTERS]
        rates = check_values(owner, "lr", state_dict["lr"], self.optimizer)
        best = _WORST[self.mode] if state_dict["best"] is None else _metric(owner, "best", state_dict["best"])
        for rate in rates:
            _size(owner, "lr", rate)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.last_epoch, self.num_bad_epochs, self.cooldown_counter = counters
        self.best = best
        self._remember()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in _SETTINGS)})"
