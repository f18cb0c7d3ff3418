"""A stand-in for `minigrad.training._together`: trains one run after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...training.loop import train
from ...training.run import Run


def train_together(
    makes: Sequence[Callable[[], Run]], epochs: int, threads: int
) -> Iterator[tuple[int, Run, BaseException | None]]:
    """Make and train each run; yield its index, the run, and its error, as they finish."""
    for index, make in enumerate(makes):
        run = make()
        try:
            train(run, epochs)
        except Exception as error:
            yield index, run, error
        else:
            yield index, run, None
