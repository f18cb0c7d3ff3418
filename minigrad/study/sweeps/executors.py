"""Runs batches of runs beyond this process: in processes, on a Dask cluster, under MPI, on any executor.

The packages of Dask and MPI are imported only if their name is asked for.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ...kernels.threads import available
from ...recipes.options import Arguments
from .engine import train_runs
from .store import Result

NAMES = "processes, processes:4, dask:ADDRESS or mpi"
_BATCHES = 8  # per worker, so that all end at about the same time
_LONGEST = 32  # runs of a batch, so that results come in all the time

Batch = dict[int, Arguments]
_one_batch = threading.Lock()  # of a worker process with several threads


def run_batch(batch: Batch) -> dict[int, Result]:
    """Train runs in a worker, one after the other, and return their results by their numbers."""
    with _one_batch:
        return dict(train_runs(batch, threads=1))


@dataclass
class Connection:
    """An executor, and what replaces it.

    Attributes:
        executor: where batches are submitted to.
        workers: how many batches run at the same time.
        replace: returns another executor, after the processes of one have died; ``None`` if it cannot be replaced.
        is_own: whether it ends with the connection.
    """

    executor: Executor
    workers: int
    replace: Callable[[], Executor] | None = None
    is_own: bool = True

    def submit(self, batch: Batch) -> Future[dict[int, Result]]:
        """Submit a batch, to another executor if the present one is broken."""
        try:
            return self.executor.submit(run_batch, batch)
        except BrokenExecutor:
            if self.replace is None:
                raise
            self.executor = self.replace()
            return self.executor.submit(run_batch, batch)


@contextlib.contextmanager
def connected(executor: Executor | Connection | str | None) -> Iterator[Connection | None]:
    """Yield the connection to an executor or one that a text names, and end it if it was made here.

    Under ``mpi`` only the first process enters the block; the others run batches, and then exit.

    Raises:
        ValueError: for an unknown name, or a package that is not installed.
        OSError: if the cluster cannot be reached.
    """
    if executor is None or isinstance(executor, Connection):
        yield executor
        return
    with contextlib.ExitStack() as stack:
        if isinstance(executor, str):
            yield _named(executor, stack)
            return
        replace = None
        if isinstance(executor, ProcessPoolExecutor):
            pool: Any = executor
            replace = _pools(stack, pool._max_workers, pool._mp_context)
        yield Connection(executor, _workers(executor), replace, is_own=False)


def _workers(executor: Any) -> int:
    for name in ("_max_workers", "num_workers"):
        if isinstance(found := getattr(executor, name, None), int) and found > 0:
            return found
    return os.cpu_count() or 1


def _named(text: str, stack: contextlib.ExitStack) -> Connection:
    name, _, rest = text.partition(":")
    if name == "processes" and (not rest or (rest.isdecimal() and int(rest) > 0)):
        count = int(rest or available())
        make = _pools(stack, count, multiprocessing.get_context("spawn"))
        return Connection(make(), count, make)
    try:
        if name == "dask" and rest:
            from distributed import Client

            client = stack.enter_context(Client(rest, timeout=10, set_as_default=False))
            return Connection(stack.enter_context(client.get_executor()), max(sum(client.ncores().values()), 1))
        if text == "mpi":
            return _of_mpi(stack)
    except ImportError as error:
        package = {"dask": "distributed", "mpi": "mpi4py"}[name]
        raise ValueError(f"executor {text}: {error}; install it with: pip install {package}") from None
    raise ValueError(f"unknown executor {text!r:.80}; known are {NAMES}")


def _of_mpi(stack: contextlib.ExitStack) -> Connection:
    """Return the connection of the first process; the others run batches, and then exit."""
    from mpi4py import MPI, futures

    workers = max(MPI.COMM_WORLD.size - 1, 1)
    if futures._core.SharedPool is not None:  # python -m mpi4py.futures: the others run batches already
        return Connection(stack.enter_context(futures.MPIPoolExecutor()), workers)
    both = futures.MPICommExecutor(MPI.COMM_WORLD, root=0)
    executor = both.__enter__()
    if executor is None:  # here the sweep is over
        raise SystemExit(0)
    stack.push(both)
    return Connection(executor, workers)


def _pools(stack: contextlib.ExitStack, count: int, context: Any) -> Callable[[], Executor]:
    """Return a function that makes a pool of processes, which ends with the stack."""

    def make() -> Executor:
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)
        stack.callback(_end, pool)
        return pool

    return make


def _end_with_parent() -> None:
    """End this worker if the process that started it is killed; otherwise it would wait for batches forever."""
    parent = multiprocessing.parent_process()

    def watch(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool, also in the middle of a batch."""
    for process in list((pool._processes or {}).values()):
        process.terminate()
    pool.shutdown()


# --- batches ---------------------------------------------------------------------------------------------------------


def results(
    arguments: Mapping[int, Arguments], threads: int | None = None, connection: Connection | None = None
) -> Iterator[dict[int, Result]]:
    """Train runs, and yield their results as they come, each run once.

    A batch whose worker dies is tried again, then its runs one at a time; a run that is lost a third time has failed.

    Args:
        arguments: all arguments of each run, by its number.
        threads: how many runs at a time in this process; by default one per core.
        connection: to where batches of them run instead.

    Raises:
        RuntimeError: if the executor runs nothing at all, or if it is lost and cannot be replaced.
    """
    if connection is None:
        for number, result in train_runs(arguments, threads or available()):
            yield {number: result}
        return
    waiting, alone = deque(_batches(arguments, connection.workers)), deque[Batch]()
    running: dict[Future[dict[int, Result]], Batch] = {}
    lost, came = Counter[int](), False
    try:
        while waiting or alone or running:
            batches, limit = (alone, 1) if alone else (waiting, 2 * connection.workers)
            while batches and len(running) < limit:
                running[connection.submit(batches[0])] = batches[0]
                batches.popleft()
            done = wait(running, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.exception(), BrokenExecutor) for future in done):
                done = wait(running).done  # all of them are lost
            for future in done:
                batch, error = running.pop(future), future.exception()
                if error is None:
                    came = True
                    yield future.result()
                    continue
                lost.update(batch.keys())
                count = lost[next(iter(batch))]
                if count == 1:
                    waiting.append(batch)
                elif count == 2:
                    alone.extend({number: each} for number, each in batch.items())
                elif came:
                    reason = " ".join(f"its worker was lost {count} times: {type(error).__name__}: {error}".split())
                    yield dict.fromkeys(batch, Result("failed", reason=reason))
                else:
                    raise RuntimeError(f"the executor runs no batch: {type(error).__name__}: {error}") from error
    finally:
        for future in running if not connection.is_own else ():
            future.cancel()


def _batches(arguments: Mapping[int, Arguments], workers: int) -> Iterator[Batch]:
    numbers = list(arguments)
    size = min(-(-len(numbers) // (workers * _BATCHES)), _LONGEST)
    for start in range(0, len(numbers), max(size, 1)):
        yield {number: arguments[number] for number in numbers[start : start + size]}
