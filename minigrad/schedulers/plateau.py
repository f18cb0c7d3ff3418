"""ReduceLROnPlateau: less learning rate when a metric no longer improves."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, SupportsFloat

import numpy as np
import numpy.typing as npt

from ..optim import Optimizer
from .option import Option, Track
from .preview import draw
from .schedule import check_choice, check_number, check_step, check_whole
from .scheduler import Scheduler, check_kind, check_optimizer, check_same, check_values, schedulers_of


def _check_factor(owner: str, name: str, value: Any) -> float:
    factor = check_number(owner, name, value, low=0)
    if factor >= 1:
        raise ValueError(f"{owner}: {name} must be below 1, not {value!r}")
    return factor


def _check_least(owner: str, name: str, value: Any) -> float | list[float]:
    if isinstance(value, Sequence):
        return [check_number(owner, name, each, low=0) for each in value]
    return check_number(owner, name, value, low=0)


def _check_metric(owner: str, name: str, value: Any) -> float:
    found = float(value)
    if math.isnan(found):
        raise ValueError(f"{owner}: {name} must not be NaN")
    return found


def _check_count(owner: str, name: str, value: Any) -> int:
    return check_whole(owner, name, value, low=0)


def _check_size(owner: str, name: str, value: Any) -> float:
    return check_number(owner, name, value, low=0)


class ReduceLROnPlateau:
    """Multiply the learning rate by factor when the metric was no better for more than patience steps.

    A metric a is better than the best b so far where, by ``threshold_mode`` and ``mode``::

        rel, min:  a < b - threshold · |b|     rel, max:  a > b + threshold · |b|
        abs, min:  a < b - threshold           abs, max:  a > b + threshold

    NaN is never better, as in PyTorch: a run that diverges counts as one that does not improve.

    A reduction is a factor: it remains when other schedulers of the optimizer, such as a warm-up, step on.

    Args:
        optimizer: its param groups are followed, including those that are added later.
        mode: ``"min"`` if a smaller metric is better, or ``"max"``. By default `minigrad.training.fit` takes it from
            the monitored metric, and it is ``"min"`` elsewhere.
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

    These and the arguments may be set later, within the same limits, except ``optimizer``, and ``mode`` after the
    first metric.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (1.0, 0.9, 0.9, 0.9, 0.9):
    ...     scheduler.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.4
    """

    _CHECKS: ClassVar[dict[str, Callable[[str, str, Any], Any]]] = {
        "mode": lambda owner, name, value: check_choice(owner, name, value, ("min", "max")),
        "factor": _check_factor,
        "patience": _check_count,
        "threshold": _check_size,
        "threshold_mode": lambda owner, name, value: check_choice(owner, name, value, ("rel", "abs")),
        "cooldown": _check_count,
        "min_lr": _check_least,
        "eps": _check_size,
        "best": _check_metric,
        **dict.fromkeys(("num_bad_epochs", "cooldown_counter", "last_epoch"), _check_count),
    }

    mode: str
    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    min_lr: float | list[float]
    eps: float
    best: float

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
        self.optimizer = check_optimizer(type(self).__name__, optimizer)
        self.mode = "min" if mode is None else mode
        self._chosen = mode is not None
        self.factor, self.patience, self.cooldown = factor, patience, cooldown
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.min_lr, self.eps = min_lr, eps  # type: ignore[assignment]  # a sequence becomes a list
        self.best = self._worst
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._option = Option("lr", "lr", None)
        self._min_lrs()
        self._keep()
        self._enter()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute within its limits.

        Raises:
            ValueError, TypeError: for a value outside them.
            AttributeError: for another optimizer, or another mode after the first metric.
        """
        owner = type(self).__name__
        if name in self._CHECKS:
            value = self._CHECKS[name](owner, name, value)
        known = vars(self)
        if name == "optimizer" and name in known:
            raise AttributeError(f"{owner}: optimizer cannot be set later; make another {owner}")
        if name == "mode" and "best" in known and value != self.mode:
            if self.best != self._worst:
                raise AttributeError(f"{owner}: mode cannot be set after the first metric; make another {owner}")
            known["best"] = -self._worst
        if name == "mode":
            known["_chosen"] = True
        super().__setattr__(name, value)

    def adopt(self, mode: str, metric: str) -> None:
        """Take the direction of a metric for the mode; `minigrad.training.fit` does so before it trains.

        Args:
            mode: ``"min"`` if less of the metric is better, or ``"max"``.
            metric: its name.

        Raises:
            ValueError: if the scheduler was made with the other mode, or has followed it.
        """
        if mode == self.mode:
            return
        better = "less" if mode == "min" else "more"
        contradiction = f"{type(self).__name__}: mode is {self.mode!r}, but {better} of {metric} is better"
        if self._chosen:
            raise ValueError(f"{contradiction}; leave the mode out, or monitor another metric")
        if self.best != self._worst:
            raise ValueError(f"{contradiction}, and it has been given metrics already; make another one")
        self.mode = mode
        self._chosen = False

    @property
    def _worst(self) -> float:
        return math.inf if self.mode == "min" else -math.inf

    def _min_lrs(self) -> list[float]:
        groups = self.optimizer.param_groups
        if not isinstance(self.min_lr, list):
            return [self.min_lr] * len(groups)
        places = self._option.places(groups)
        if max(places) >= len(self.min_lr) or (not self._option.tracks and len(self.min_lr) != len(groups)):
            raise ValueError(
                f"ReduceLROnPlateau: min_lr has {len(self.min_lr)} numbers for {len(groups)} param groups; "
                "give one number for all of them, or one for each (append to scheduler.min_lr)"
            )
        return [self.min_lr[place] for place in places]

    def _keep(self) -> None:
        """Take note of the rates as they are now."""
        rates = [(group, float(group["lr"])) for group in self.optimizer.param_groups]
        self._option.keep([Track(group, rate, last=rate) for group, rate in rates])

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:
        """Take note of a metric, and reduce the rates if it is time.

        Args:
            metrics: a number, or a tensor of one element.
            epoch: the number of this metric; by default the next one.

        Raises:
            TypeError: for something that is not a number.
        """
        metric = float(metrics)
        epoch = self.last_epoch + 1 if epoch is None else math.floor(check_step("ReduceLROnPlateau", epoch))
        lowest = self._min_lrs()
        if self._observe(metric):
            before = [float(group["lr"]) for group in self.optimizer.param_groups]
            schedulers = [each for each in schedulers_of(self.optimizer) if isinstance(each, Scheduler)]
            for number, (old, new) in enumerate(zip(before, self._reduced(before, lowest), strict=True)):
                if new != old:
                    self.optimizer.param_groups[number]["lr"] = new
                    for scheduler in schedulers:
                        scheduler._follow("lr", number, old, new)
        self.last_epoch = epoch
        self._keep()

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
        tracks = self._option.tracks_of(self.optimizer.param_groups)
        return [track.last for track in tracks if track.last is not None]

    def origins(self, group: int) -> dict[str, str | None]:
        """As text, how the learning rate of a param group came by its value; None if another has set it since."""
        track = self._option.track(self.optimizer.param_groups[group])
        if track.last is None:  # added since
            return {}
        if track.group["lr"] != track.last:
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
            "best": None if self.best == self._worst else self.best if math.isfinite(self.best) else str(self.best),
            "num_bad_epochs": self.num_bad_epochs,
            "cooldown_counter": self.cooldown_counter,
            "lr": [float(group["lr"]) for group in self.optimizer.param_groups],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where another run was; before or after the optimizer loads its own state dict.

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
        self.best = best
        self._keep()

    def __repr__(self) -> str:
        names = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps")
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"
