"""DataLoader: a dataset in batches of tensors, in an order that can be saved and resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import devices, random
from ..attributes import argument, fixed
from ..autograd.tensor import Tensor
from ..checks import named_arguments, whole
from ..devices.arrays import is_array
from ._transfer import transferred
from .dataset import Dataset, collated, is_stored, name_of

__all__ = ["DataLoader"]


class DataLoader:
    """Batches of a dataset, as pairs of tensors (features, labels).

    The order of an epoch depends only on the seed and the number of the epoch, so the state of a loader is a few
    numbers. Each loop begins a new epoch, even if the loop before it was left early; after `load_state_dict` the next
    loop resumes with the batch after the last one that the saved loader returned.

    Args:
        dataset: a `Dataset`, or anything with ``__len__`` and a ``__getitem__`` that returns the
            pair (features, label) of one row, such as a subclass of `Dataset` or a list of pairs.
        batch_size: rows per batch. The last batch of an epoch may be smaller.
        shuffle: a new random order in every epoch; otherwise the order of the rows.
        drop_last: skip the last batch if it is smaller.
        seed: decides the orders; by default drawn from minigrad's generator if rows are shuffled, so that
            `minigrad.manual_seed` decides.
        device: the device of the batches, ``"cpu"`` or ``"cuda"``; by default the dataset's. A batch for a GPU is
            copied from page-locked memory while the model computes on the batch before it.

    Raises:
        TypeError: if ``dataset`` is not a dataset.
        ValueError: if the dataset is empty, the batch size not positive, or every batch would be dropped.

    >>> loader = data.DataLoader(data.load_digits(), batch_size=500, shuffle=True, seed=0)
    >>> [features.shape for features, labels in loader]
    [(500, 64), (500, 64), (500, 64), (297, 64)]
    """

    dataset: Any = fixed()
    batch_size: int = fixed()
    shuffle: bool = fixed()
    drop_last: bool = fixed()
    device: str = fixed()
    seed = argument("load_state_dict() takes the seed of another loader")

    @named_arguments
    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        kind = type(dataset)
        if isinstance(dataset, tuple | Tensor) or is_array(dataset) or not {"__len__", "__getitem__"} <= {*dir(kind)}:
            raise TypeError(
                f"DataLoader: needs a Dataset, not {kind.__name__}; wrap arrays as Dataset(features, labels), or "
                "define __len__ and __getitem__"
            )
        name = name_of(dataset)
        if not len(dataset):
            raise ValueError(f"DataLoader: {name} is empty")
        self.batch_size = whole(self, "batch_size", batch_size)
        if seed is not None:
            seed = whole(self, "seed", seed, least=0)
        self._home = dataset.device if isinstance(dataset, Dataset) and is_stored(dataset) else "cpu"
        self.device = self._home if device is None else devices.as_device(device)
        self.dataset = dataset
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        if not len(self):
            raise ValueError(
                f"DataLoader: drop_last would drop every batch of {name}: {len(dataset)} rows do not fill "
                f"one batch of {batch_size}"
            )
        if seed is None:
            seed = int(random.generator().integers(2**32)) if self.shuffle else 0
        self._seed = int(seed)
        self._epoch = 0
        self._batch = 0
        self._resuming = False
        # The last order, with the seed and the epoch that it belongs to.
        self._rows: tuple[tuple[int, int], npt.NDArray[np.int64]] | None = None

    def __repr__(self) -> str:
        order = f"shuffled by seed {self._seed}" if self.shuffle else "in order"
        return f"<DataLoader of {self.dataset!r}: {len(self)} batches of {self.batch_size}, {order}>"

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    @property
    def epoch(self) -> int:
        """The number of the current epoch, counted from 0; between two epochs, of the next one."""
        return self._epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.begin()
        yield from self.rest()

    def begin(self) -> None:
        """Begin an epoch, or continue the one of a state that was loaded."""
        if self._batch and not self._resuming:
            self._epoch, self._batch = self._epoch + 1, 0
        self._resuming = False

    def rest(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of this epoch that were not used yet."""
        epoch, first = self._epoch, self._batch
        for batch, (features, labels) in enumerate(self._moved(self._batches(epoch, first)), first + 1):
            self._epoch, self._batch = epoch, batch
            yield Tensor(features), Tensor(labels)
        self._epoch, self._batch = epoch + 1, 0

    def rows(self, batch: int, batches: int) -> npt.NDArray[np.int64]:
        """The numbers of the rows of some batches of the current epoch, from ``batch`` on."""
        return self.order(self._epoch)[batch * self.batch_size : (batch + batches) * self.batch_size]

    def advance(self, batches: int) -> None:
        """Count batches that were used without this loader, so that `rest` begins with the batch after them."""
        self._batch += batches

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[Any, Any]]:
        """Yield the arrays of the batches of an epoch from number ``first`` on, on the device of the dataset."""
        order = self.order(epoch)
        for batch in range(first, len(self)):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            if is_stored(self.dataset):
                yield self.dataset[devices.to_device(rows, self._home)]
            else:
                yield collated(self.dataset, rows)

    def _moved(self, batches: Iterator[tuple[Any, Any]]) -> Iterator[Any]:
        """Move the arrays to the device of the batches; to a GPU, each batch is copied while the one before is used."""
        if self.device == self._home:
            yield from batches
        elif self.device == "cpu":
            yield from ([devices.to_host(array) for array in arrays] for arrays in batches)
        else:
            yield from transferred(batches)

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The rows in the order of an epoch."""
        if self._rows is None or self._rows[0] != (self._seed, epoch):
            order = np.arange(len(self.dataset))
            if self.shuffle:
                rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(epoch,)))
                order = rng.permutation(len(self.dataset))
            self._rows = (self._seed, epoch), order
        return self._rows[1]

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the loader as a dictionary of plain numbers, which JSON can hold."""
        return {**self._settings(), "seed": self._seed, "epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state: the next loop yields what the saved loader would have yielded next.

        Raises:
            ValueError: if ``state`` has missing or unknown keys, or comes from a loader with another number of
                rows, batch size, ``shuffle`` or ``drop_last``; the loader is unchanged.
        """
        mine = self.state_dict()
        if state.keys() != mine.keys():
            raise ValueError(
                f"DataLoader: a state has the keys {', '.join(mine)}; missing: {sorted(mine.keys() - state.keys())}, "
                f"unknown: {sorted(state.keys() - mine.keys())}"
            )
        for key, value in self._settings().items():
            if state[key] != value:
                raise ValueError(
                    f"DataLoader: the state was saved with {key}={state[key]!r}, this loader has {value!r}; "
                    "its batches would be different"
                )
        for key in ("seed", "epoch", "batch"):
            if not _is_count(state[key]) or (key == "batch" and state[key] > len(self)):
                raise ValueError(
                    f"DataLoader: {state[key]!r} is not a possible {key} of a loader with {len(self)} batches"
                )
        self._seed, self._epoch, self._batch = state["seed"], state["epoch"], state["batch"]
        self._resuming = True

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rows": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy continues as a loader with the loaded state does: with the next batch."""
        vars(self).update(state)
        self._resuming = self._resuming or bool(self._batch)

    def _settings(self) -> dict[str, Any]:
        return {
            "rows": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
        }


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0
