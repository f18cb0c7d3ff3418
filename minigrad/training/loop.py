"""The training loop: `fit`, and `train` for a run that already exists."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..autograd.tensor import Tensor
from ..checks import whole
from ..data import DataLoader, Dataset
from ..nn import Module
from ..nn.functional import cross_entropy
from ..optim import Optimizer
from ..schedulers import ReduceLROnPlateau, Scheduler
from .checkpoint import load_checkpoint
from .evaluation import Loss, Metric, adds_up, divisor
from .nonfinite import explain_nonfinite
from .progress import Row
from .run import AnyScheduler, Callback, Evaluate, Run

if TYPE_CHECKING:
    from ._compiled import Stretches


def fit(
    model: Module,
    optimizer: Optimizer,
    loader: DataLoader,
    epochs: int,
    *,
    loss: Loss = cross_entropy,
    metrics: Mapping[str, Metric] | None = None,
    evaluate: Dataset | Evaluate | None = None,
    scheduler: AnyScheduler | Sequence[AnyScheduler] | None = None,
    scheduler_every: str = "epoch",
    accumulate: int = 1,
    callbacks: Iterable[Callback] = (),
    monitor: str | None = None,
    resume: str | os.PathLike[str] | None = None,
    compiled: bool = True,
) -> Run:
    """Train until ``epochs`` epochs are complete, or a callback stops the run.

    This is the loop of the README, followed by the metrics, the scheduler and the callbacks after each epoch, in this
    order.

    Args:
        model: the model; it is left in training mode.
        optimizer: an optimizer of the model's parameters.
        loader: the batches. A run that resumes in the middle of an epoch resumes with the next batch.
        epochs: the number of epochs in total, 0 or more, including those before a checkpoint.
        loss: from output and labels to the mean loss over the rows, or to their sum if its ``reduction`` is ``"sum"``,
            as in ``functools.partial(nn.functional.cross_entropy, reduction="sum")``. The reported value is the mean.
        metrics: more values to report, each a function from output and labels to a sum over the rows, such as
            ``{"accuracy": correct}``.
        evaluate: held-out data, on which loss and metrics are computed after every epoch, or a function of the model
            that returns numbers by name.
        scheduler: one or more new schedulers. ReduceLROnPlateau gets the monitored metric after every epoch, and takes
            its mode from it if it was made without one.
        scheduler_every: when other schedulers step, ``"epoch"`` or ``"step"``.
        accumulate: how many batches make one optimizer step, which equals a step on one batch of all their rows. They
            are loaded before the first one is used, because the mean loss may depend on how many labels count.
        callbacks: instances of `Callback`, called in this order. Put loggers before `Checkpoints`.
        monitor: the metric that decides which epoch was best, such as ``held_out_loss``. A loss is minimized; for any
            other, the function declares by `metric` whether more or less is better. By default
            ``held_out_accuracy`` if that is declared, or else ``held_out_loss``; or the same with ``train``, if
            nothing is held out. If ``evaluate`` is a function that declares its numbers, the first one. If it
            neither declares them nor returns such a number, the ``train`` metric; then EarlyStopping and
            ReduceLROnPlateau raise ValueError after the first epoch, unless ``monitor`` is given.
        resume: a checkpoint to resume from, of a run with the same arguments.
        compiled: make the steps by compiled code where that is possible, as `minigrad.compile` does; the results are
            the same to the last bit. ``run.eager`` says why it was not possible. The Python code of the model and the
            loss then runs at the first steps only: if it does more than compute, as by printing or counting, pass
            ``False``. Metrics and callbacks are always called.

    Returns:
        The run, whose ``progress.history`` has a row of metrics per epoch.

    Raises:
        ValueError: for an unknown monitor, one that does not declare what is better, a plateau with the other mode, a
            scheduler of another optimizer, or an optimizer of another model.
        NonFiniteLossError: if the loss becomes NaN or infinite, before that step has changed a parameter.
        CheckpointError: if ``resume`` does not fit; nothing has changed.

    >>> model = nn.MLP([2, 8, 2])
    >>> optimizer = optim.Adam(model.parameters(), lr=0.01)
    >>> loader = data.DataLoader(data.moons(), batch_size=50, shuffle=True, seed=0)
    >>> run = training.fit(model, optimizer, loader, epochs=3)
    >>> len(run.progress.history), run.progress.step
    (3, 12)
    """
    epochs = whole("fit", "epochs", epochs, least=0)
    run = Run(
        model,
        optimizer,
        loader,
        loss,
        metrics=metrics,
        evaluate=evaluate,
        scheduler=scheduler,
        scheduler_every=scheduler_every,
        accumulate=accumulate,
        callbacks=callbacks,
        monitor=monitor,
        compiled=compiled,
    )
    if resume is not None:
        load_checkpoint(resume, run)
    return train(run, epochs)


def train(run: Run, epochs: int) -> Run:
    """Run the loop of `fit` for a run that was made or loaded before.

    After an exception, the run is as the current step has left it; the first error is raised.
    """
    return train_with(run, whole("train", "epochs", epochs, least=0))


def train_with(run: Run, epochs: int, stretches: Stretches | None = None) -> Run:
    """Run the loop with these compiled steps, or with new ones."""
    # NumPy need not warn about overflow, because it leads to a loss that is not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            run.begin()
            stretches = stretches or _stretches(run)
            while run.progress.epoch < epochs and not run.stopping:
                if _train_epoch(run, stretches):
                    finish_epoch(run, run.evaluation)
            for callback in run.callbacks:
                callback.end(run)
        except BaseException as error:
            for callback in run.callbacks:
                callback.failed(run, error)
            raise
        finally:
            for callback in reversed(run.callbacks):
                callback.close()
    return run


def _stretches(run: Run) -> Stretches | None:
    """What takes compiled steps; none if that is not wanted."""
    if not run.compiled:
        run.eager = "compiled=False"
        return None
    from ._compiled import Stretches  # loads Numba and LLVM, which an import of minigrad.training does not need

    return Stretches(run)


def _train_epoch(run: Run, stretches: Stretches | None) -> bool:
    """Train on the remaining batches of this epoch; return whether it was completed."""
    schedulers = _plain_schedulers(run) if run.scheduler_every == "step" else []
    run.model.train()
    if type(run.loader) is DataLoader:
        run.loader.begin()
        batches = run.loader.rest()
    else:
        batches = iter(run.loader)
    while True:
        if stretches is not None and stretches.take(schedulers):
            batches = run.loader.rest()
        else:
            group = list(itertools.islice(batches, run.accumulate))
            if not group:
                return True
            _step(run, group)
            for scheduler in schedulers:
                scheduler.step()
            for callback in run.callbacks:
                callback.after_step(run)
        if run.stopping:
            return False


def _step(run: Run, group: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Take one step on some batches."""
    model, optimizer, loss, progress = run.model, run.optimizer, run.loss, run.progress
    sums = adds_up(loss)
    optimizer.zero_grad()
    # The divisor of the mean over each batch, and over all batches of the step: batches may differ in their number
    # of rows, and in how many of them count.
    sizes = [divisor(loss, labels.data) for _, labels in group] if len(group) > 1 and not sums else [1] * len(group)
    whole = 1 if sums else sum(sizes)
    losses = 0.0
    for (features, labels), size in zip(group, sizes, strict=True):
        output = model(features)
        value = loss(output, labels)
        number = value.item()
        if not math.isfinite(number):
            raise explain_nonfinite(
                model, loss, features, labels, number, step=progress.step + 1, epoch=progress.epoch + 1
            )
        share = size / whole
        (value if share == 1 else value * share).backward()
        losses += number * share
        progress.batch += 1
        run.measure(number, output, labels)
    optimizer.step()
    progress.step += 1
    progress.loss = losses
    if progress.first_loss is None:
        progress.first_loss = losses


def finish_epoch(run: Run, evaluation: Callable[[], Row]) -> None:
    """Note the metrics of an epoch whose batches are used, with those of ``evaluation``, and do what comes after it."""
    progress = run.progress
    run.settle()
    row = {**progress.means(), **evaluation()}
    progress.epoch += 1
    progress.history.append(row)
    monitored = run.monitored(row)
    progress.note(monitored, run.direction)
    progress.begin_epoch()
    if run.scheduler_every == "epoch":
        for scheduler in _plain_schedulers(run):
            scheduler.step()
    for each in run.schedulers:
        if isinstance(each, ReduceLROnPlateau):
            each.step(monitored)
    for callback in run.callbacks:
        callback.after_epoch(run)


def _plain_schedulers(run: Run) -> list[Scheduler]:
    return [each for each in run.schedulers if isinstance(each, Scheduler)]
