"""``minigrad train`` and ``minigrad resume``."""

from __future__ import annotations

import contextlib
import hashlib
import math
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import nn, study, training
from ..devices.cuda import DeviceError, cuda_status
from ..files import clear_stale
from ..kernels.cache import cache_folder
from ..kernels.threads import get_num_threads, set_num_threads
from ..optim import Optimizer
from ..text import plural
from ..training import Run
from ..training._blas import use_one_blas_thread
from ..training._run_directory import CHECKPOINTS, CONFIG, RECORD, REPORT, WITHOUT, RunDirectory, plain_name, versions
from ..training.checkpoint import checkpoint_path
from ..training.logs import ShortFileError
from ..training.recipe import Problem, Recipe, make_run, problem
from .display import Display, best_of, console
from .ending import EndNote, Stop
from .errors import FAILED, CommandError, words
from .options import Arguments, recipe_of
from .signals import status_of, title


def train(arguments: Arguments) -> int:
    """Train a new run."""
    out = console(arguments["quiet"])
    run, recipe, asked = prepare(arguments, out)
    directory = None if arguments["no_output"] else new_directory(run, recipe, asked, arguments)
    introduce(run, asked, arguments, directory, out)
    with writing(directory, "minigrad train"):
        carry_on(run, recipe.epochs, directory, arguments, out)
    return 0


def resume(path: str, given: Arguments) -> int:
    """Go on with the run in a folder; ``given`` are the options of this command line."""
    try:
        directory = RunDirectory.open(path)
    except OSError as error:
        raise CommandError(f"minigrad resume: {words(error)}") from None
    with writing(directory, "minigrad resume"):  # before anything is read, so that it stays as it was read
        return _resume(directory, given)


def _resume(directory: RunDirectory, given: Arguments) -> int:
    path = directory.path
    try:
        config = directory.config()
        last, ending = directory.last_checkpoint(), directory.ending()
    except (ValueError, OSError) as error:
        raise CommandError(f"minigrad resume: {words(error)}") from None
    from . import arguments_of_run

    arguments = arguments_of_run(config["arguments"], path, given)
    out = console(arguments["quiet"])
    run, recipe, asked = prepare(arguments, out, "minigrad resume")
    check_data(config, asked, "minigrad resume")
    clear_stale(path)
    run.callbacks = callbacks(run, path, recipe, arguments)
    try:
        training.load_checkpoint(last, run)
    except (ValueError, OSError) as error:
        remedy = way_out(directory, "it") if directory.surplus(last) is None else ""
        raise CommandError(f"minigrad resume: {words(error)}{remedy}") from None
    saved = config["arguments"]
    if given.get("epochs", math.inf) <= run.progress.epoch < saved.get("epochs", 0):
        raise CommandError(
            f"minigrad resume: {path} is in epoch {run.progress.epoch + 1} of {saved['epochs']}, which --epochs "
            f"{given['epochs']} would not let it finish; give {run.progress.epoch + 1} or more, or leave it out"
        )
    changed = {name: given[name] for name in ("epochs", "device") if name in given and given[name] != saved.get(name)}
    if run.progress.epoch > recipe.epochs:  # which it cannot be brought back to
        changed.pop("epochs", None)
    if changed:
        config = {**config, **computed_on(arguments["device"]), "arguments": {**saved, **changed}}
    if run.progress.epoch >= recipe.epochs:
        done = plural(run.progress.epoch, "epoch")
        out.print(f"{path} is complete after {done}; give --epochs for more", markup=False, soft_wrap=True)
        finished = ending is not None and ending.state == "finished" and directory.surplus(last) == 0
        if finished and directory.weights.exists() and directory.curves.exists():
            return 0
    else:
        place = f"epoch {run.progress.epoch + 1}, step {run.progress.step + 1}"
        if ending is None or ending.state != "finished":
            again = "; the same steps come to the same" if ending is not None and ending.state == "diverged" else ""
            out.print(f"{path}: {ending or WITHOUT}{again}", markup=False, soft_wrap=True)
        out.print(f"going on with {place} of {path}", markup=False, soft_wrap=True)
    carry_on(run, recipe.epochs, directory, arguments, out, config=config if changed else None)
    return 0


@contextlib.contextmanager
def writing(directory: RunDirectory | None, command: str) -> Iterator[None]:
    """A block in which no other command writes a run.

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


def prepare(arguments: Arguments, out: Console, command: str = "minigrad train") -> tuple[Run, Recipe, Problem]:
    """The run that arguments describe, at its beginning, with its kernels compiled."""
    if "threads" in arguments:
        set_num_threads(arguments["threads"])
    use_one_blas_thread()
    try:
        recipe = recipe_of(arguments)
        asked = problem(recipe)
        run = make_run(recipe, asked, device=arguments["device"])
        compile_kernels(run.optimizer, out)
    except (ValueError, TypeError, OSError, MemoryError, DeviceError) as error:
        raise CommandError(f"{command}: {words(error)}") from None
    return run, recipe, asked


def compile_kernels(optimizer: Optimizer, out: Console) -> None:
    """Compile the update kernels before the first step, and say so where they do not come from the cache."""
    if optimizer.store.device != "cpu" or _is_compiled(optimizer):  # those of a GPU are compiled when they first run
        optimizer.prepare()
        return
    started = time.perf_counter()
    out.print("compiling the update kernels ...", soft_wrap=True)
    optimizer.prepare()
    kept = "kept for the next time" if cache_folder() is not None else "not kept, for want of a folder"
    out.print(f"compiled in {time.perf_counter() - started:.1f} s, {kept}", soft_wrap=True)


def _is_compiled(optimizer: Optimizer) -> bool:
    folder = cache_folder()
    keys = [hashlib.sha256(source.encode()).hexdigest()[:32] for source in optimizer.plan().sources]
    return folder is not None and all(any(folder.glob(f"__pycache__/kernel_{key}.*.nbc")) for key in keys)


def callbacks(run: Run, folder: Path, recipe: Recipe, arguments: Arguments) -> list[training.Callback]:
    """Those that have a say in the run, and its files; the display is added to them."""
    every = arguments.get("record")
    recorder = [study.Recorder(run.model, run.optimizer, every, path=folder / RECORD)] if every else []
    stopping: list[training.Callback] = [training.EarlyStopping(recipe.patience)] if recipe.patience else []
    kept = training.Checkpoints(folder / CHECKPOINTS, arguments.get("checkpoint_every"), arguments["keep"])
    return [training.RunLog(folder), *recorder, training.StopIfDiverged(), *stopping, kept]


def new_directory(run: Run, recipe: Recipe, asked: Problem, arguments: Arguments) -> RunDirectory:
    """A run directory with the configuration and the first checkpoint of the run."""
    name = arguments.get("name") or plain_name(f"{asked.train.name}-{recipe.optimizer}".lower())
    config = {
        "arguments": arguments,
        "seed": recipe.seed,
        **computed_on(arguments["device"]),
        "threads": get_num_threads(),
        "versions": versions(),
        "data": asked.fingerprint(),
        "model": {"parameters": sum(p.size for p in run.model.parameters()), "layers": repr(run.model)},
    }

    def fill(folder: Path) -> None:
        (folder / CHECKPOINTS).mkdir()
        run.callbacks = callbacks(run, folder, recipe, arguments)
        training.save_checkpoint(checkpoint_path(folder / CHECKPOINTS, 0), run)

    try:
        directory = RunDirectory.create(arguments["output"], name, config, fill)
    except (ValueError, OSError) as error:
        raise CommandError(f"minigrad train: {words(error)}") from None
    run.callbacks = callbacks(run, directory.path, recipe, arguments)
    return directory


def computed_on(device: str) -> dict[str, Any]:
    """The device and, if it is a GPU, which, as a configuration has them."""
    return {"device": device, "gpu": None if device == "cpu" else cuda_status().devices[0]}


def check_data(config: dict[str, Any], asked: Problem, command: str) -> None:
    """Refuse to go on with other data."""
    saved, now = config["data"], asked.fingerprint()
    differing = [name for name in now if saved.get(name) != now[name]]
    if differing:
        name = differing[0]
        values = "" if name == "sha256" else f": {saved.get(name)!r:.60}, and now {now[name]!r:.60}"
        what = "values" if name == "sha256" else name
        raise CommandError(f"{command}: the data of the run had other {what}{values}")


def introduce(run: Run, asked: Problem, arguments: Arguments, directory: RunDirectory | None, out: Console) -> None:
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
    """The optimizer with its learning rate, and what else is not as in its class."""
    from ..training.catalog import optimizer_arguments

    optimizer = run.optimizer
    known, group = optimizer_arguments(optimizer.algorithm), optimizer.param_groups[0]
    shown = {"lr": group.get("initial_lr", group["lr"])}
    shown |= {
        name: group[name] for name, p in known.items() if name in group and name != "lr" and group[name] != p.default
    }
    settings = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items())
    return optimizer.title.replace(optimizer.algorithm, f"{optimizer.algorithm}({settings})")


def carry_on(
    run: Run,
    epochs: int,
    directory: RunDirectory | None,
    arguments: Arguments,
    out: Console,
    *,
    show: bool = True,
    config: dict[str, Any] | None = None,
) -> float:
    """Train to the end, write what a finished run has, and say what happened; the seconds that it took.

    Args:
        run: at its beginning, or with a checkpoint loaded.
        epochs: how many there are in all.
        directory: where it is written; ``None`` for nowhere.
        arguments: of the run.
        out: where to print.
        show: whether to print a row per epoch and a summary.
        config: what ``config.json`` is to hold from when training begins.

    Raises:
        CommandError: if training fails or a signal stops it.
    """
    if directory is None:
        patience = arguments.get("patience")
        run.callbacks = [training.StopIfDiverged(), *([training.EarlyStopping(patience)] if patience else [])]
    if show:
        run.callbacks.append(Display(out, epochs))
    started, before = time.perf_counter(), run.progress.epoch
    stop = Stop(run)
    try:
        with contextlib.nullcontext() if directory is None else EndNote(run, directory, stop, config):
            with stop:
                training.train(run, epochs)
            if directory is not None:
                finish(run, directory, picture=stop.number is None)
    except (FloatingPointError, OSError, MemoryError, DeviceError) as error:
        raise CommandError(f"minigrad: {words(error)}{_remedy(error, directory)}", FAILED) from None
    except ValueError as error:  # a log that another process writes, or that is shorter than it was
        lost = directory is not None and isinstance(error, ShortFileError)
        remedy = way_out(directory, str(directory.last_checkpoint())) if directory is not None and lost else ""
        raise CommandError(f"minigrad: {words(error)}{remedy}") from None
    except KeyboardInterrupt as error:
        raise CommandError(_interrupted(getattr(error, "number", None), "", directory), status_of(error)) from None
    seconds = time.perf_counter() - started
    if stop.number is not None:
        after = f" after step {run.progress.step}"
        raise CommandError(_interrupted(stop.number, after, directory), 128 + stop.number)
    if show:
        if run.stopping:
            out.print(f"stopped: {run.stopping}", markup=False, soft_wrap=True)
        if run.progress.history:
            now = run.progress.epoch - before
            took = f"; {plural(now, 'epoch')} in {seconds:.1f} s" if now else ""
            whole = f", {run.progress.epoch} in all" if now and before else ""
            out.print(f"{best_of(run)}{took}{whole}", soft_wrap=True)
        for each in run.callbacks:
            if isinstance(each, study.Recorder):
                out.print(f"recording: {each.cost.describe(each.interval, '--record ')}", soft_wrap=True)
        if directory is not None:
            tell_files(directory, out)
    return seconds


def _interrupted(number: int | None, after: str, directory: RunDirectory | None) -> str:
    """What a signal did, and how to continue."""
    by = "" if title(number) == "Ctrl-C" else f" by {title(number)}"
    again = f"; go on with: minigrad resume {quoted(directory)}" if directory is not None else ""
    return f"interrupted{by}{after}{again}"


def tell_files(directory: RunDirectory, out: Console) -> None:
    """Print what there is of the run, and the command that makes a page of it."""
    written = [name for name in directory.files() if name != REPORT]
    out.print(f"wrote {directory.path}: {', '.join(written)}", markup=False, soft_wrap=True)
    old = f"{REPORT} is from before; anew: " if directory.report.exists() else "as a page: "
    if directory.report.exists() or directory.record.exists():
        out.print(f"{old}minigrad report {quoted(directory)}", markup=False, soft_wrap=True)


def quoted(directory: RunDirectory) -> str:
    """The folder as a shell takes it."""
    return shlex.quote(str(directory.path))


def finish(run: Run, directory: RunDirectory, picture: bool) -> None:
    """Write the weights and, if there is time for it, the picture."""
    training.save_weights(directory.weights, run.model)
    if picture and run.progress.history:
        study.plots.metrics(run.progress.history, path=directory.curves)


def way_out(directory: RunDirectory, it: str) -> str:
    """How to go on with a run whose last checkpoint is refused, and what that costs; ``it`` names that checkpoint."""
    older = next(
        (path for path in reversed(directory.to_go_on_from()[:-1]) if directory.surplus(path) is not None), None
    )
    if older is None:
        config = shlex.quote(str(directory.path / CONFIG))
        return f"; no older checkpoint fits; train the run again with: minigrad train --config {config}"
    return f"; the steps since {older.name} can be trained again bit for bit; delete {it} to continue from {older.name}"


def _remedy(error: Exception, directory: RunDirectory | None) -> str:
    """What to do about a training that failed, and where its last good state is."""
    advice = "; try a smaller --lr" if isinstance(error, FloatingPointError) else ""
    if directory is None:
        return advice
    try:
        return f"{advice}; the last good checkpoint is {directory.last_checkpoint()}"
    except OSError:
        return advice
