"""Shared by the commands that train: the run made from its arguments, its callbacks, its folder and its output."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import nn, study, training
from ..devices.cuda import DeviceError, cuda_status
from ..kernels.cache import cache_folder
from ..kernels.threads import get_num_threads, set_num_threads
from ..optim import Optimizer
from ..recipes.catalog import optimizer_arguments
from ..recipes.recipe import Problem, make_run, problem
from ..training import Run
from ..training._blas import use_one_blas_thread
from ..training._run_directory import CHECKPOINTS, RECORD, RunDirectory, plain_name, versions
from ..training.checkpoint import checkpoint_path
from .ending import CommandError, words
from .options import Arguments


def prepare(arguments: Arguments, out: Console, command: str = "minigrad train") -> tuple[Run, Problem]:
    """Return the run that arguments describe, at its beginning and with its kernels compiled, and its problem.

    Raises:
        CommandError: if the arguments or the data are wrong, or the device cannot be used.
    """
    if "threads" in arguments:
        set_num_threads(arguments["threads"])
    use_one_blas_thread()
    try:
        asked = problem(arguments)
        run = make_run(arguments, asked)
        _compile_kernels(run.optimizer, out)
    except (ValueError, TypeError, OSError, MemoryError, DeviceError) as error:
        raise CommandError(f"{command}: {words(error)}") from None
    return run, asked


def _compile_kernels(optimizer: Optimizer, out: Console) -> None:
    """Compile the update kernels before the first step, and print so if they are not in the cache."""
    if optimizer.store.device != "cpu" or _is_compiled(optimizer):  # kernels for a GPU are compiled at the first step
        optimizer.prepare()
        return
    started = time.perf_counter()
    out.print("compiling the update kernels ...", soft_wrap=True)
    optimizer.prepare()
    cached = "cached" if cache_folder() is not None else "not cached: no writable cache folder"
    out.print(f"compiled in {time.perf_counter() - started:.1f} s, {cached}", soft_wrap=True)


def _is_compiled(optimizer: Optimizer) -> bool:
    folder = cache_folder()
    keys = [hashlib.sha256(source.encode()).hexdigest()[:32] for source in optimizer.plan().sources]
    return folder is not None and all(any(folder.glob(f"__pycache__/kernel_{key}.*.nbc")) for key in keys)


def check_data(config: dict[str, Any], asked: Problem, command: str) -> None:
    """Raise CommandError if the data differs from the data of the run with this configuration."""
    saved, now = config["data"], asked.fingerprint()
    differing = [name for name in now if saved.get(name) != now[name]]
    if differing:
        name = differing[0]
        what = "values" if name == "sha256" else name
        values = "" if name == "sha256" else f": {saved.get(name)!r:.60}, and now {now[name]!r:.60}"
        raise CommandError(f"{command}: the data of the run had other {what}{values}")


def callbacks(run: Run, folder: Path, arguments: Arguments) -> list[training.Callback]:
    """Return the callbacks that act on the run, or write its files; the display is added later."""
    every, patience = arguments.get("record"), arguments.get("patience")
    return [
        training.RunLog(folder),
        *([study.Recorder(run.model, run.optimizer, every, path=folder / RECORD)] if every else []),
        training.StopIfDiverged(),
        *([training.EarlyStopping(patience)] if patience else []),
        training.Checkpoints(folder / CHECKPOINTS, arguments.get("checkpoint_every"), arguments["keep"]),
    ]


def new_directory(run: Run, asked: Problem, arguments: Arguments) -> RunDirectory:
    """Make a run directory with the configuration and the first checkpoint of the run."""
    name = arguments.get("name") or plain_name(f"{asked.train.name}-{arguments['optimizer']}".lower())
    config = {
        "arguments": arguments,
        "seed": arguments["seed"],
        **computed_on(arguments["device"]),
        "threads": get_num_threads(),
        "versions": versions(),
        "data": asked.fingerprint(),
        "model": {"parameters": sum(p.size for p in run.model.parameters()), "layers": repr(run.model)},
    }

    def fill(folder: Path) -> None:
        (folder / CHECKPOINTS).mkdir()
        run.callbacks = callbacks(run, folder, arguments)
        training.save_checkpoint(checkpoint_path(folder / CHECKPOINTS, 0), run)

    try:
        directory = RunDirectory.create(arguments["output"], name, config, fill)
    except (ValueError, OSError) as error:
        raise CommandError(f"minigrad train: {words(error)}") from None
    run.callbacks = callbacks(run, directory.path, arguments)
    return directory


def computed_on(device: str) -> dict[str, Any]:
    """Return the device, and which GPU it is, as a configuration holds them."""
    return {"device": device, "gpu": None if device == "cpu" else cuda_status().devices[0]}


@contextlib.contextmanager
def writing(directory: RunDirectory | None, command: str) -> Iterator[None]:
    """A block in which no other command writes the run, if it has a directory.

    Raises:
        CommandError: if another process is writing it.
    """
    with contextlib.ExitStack() as stack:
        if directory is not None:
            try:
                stack.enter_context(directory.writing())
            except (ValueError, OSError) as error:
                raise CommandError(f"{command}: {words(error)}") from None
        yield


def introduce(run: Run, asked: Problem, directory: RunDirectory | None, out: Console) -> None:
    """Print the model, the optimizer, the data and the folder."""
    table = nn.summary(run.model, (1, asked.inputs))
    out.print(table if out.is_terminal else str(table), markup=False, soft_wrap=not out.is_terminal)
    out.print(
        f"{describe_optimizer(run)}, {len(asked.train)} rows of {asked.train.name} to train, {len(asked.held_out)} "
        "held out",
        markup=False,
        soft_wrap=True,
    )
    if directory is not None:
        out.print(f"writing {directory.path}", markup=False, soft_wrap=True)


def describe_optimizer(run: Run) -> str:
    """Return the optimizer with its learning rate and every option that is not the default of its class."""
    optimizer = run.optimizer
    known, group = optimizer_arguments(optimizer.algorithm), optimizer.param_groups[0]
    shown = {"lr": group.get("initial_lr", group["lr"])}
    shown |= {
        name: group[name] for name, p in known.items() if name in group and name != "lr" and group[name] != p.default
    }
    settings = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items())
    return optimizer.title.replace(optimizer.algorithm, f"{optimizer.algorithm}({settings})")
