"""``minigrad evaluate``: the held-out metrics of a run's weights."""

from __future__ import annotations

from .. import training
from ..text import metric_text, metric_title
from ..training import Run
from ..training._run_directory import RunDirectory
from ..training.checkpoint import size_limit
from .display import console
from .errors import CommandError, words
from .options import Arguments
from .train import check_data, prepare


def evaluate(path: str, arguments: Arguments, checkpoint: str | None) -> int:
    """Print loss and metrics of the weights in a run directory, of its best checkpoint, or of another one."""
    out = console(arguments["quiet"])
    command = "minigrad evaluate"
    try:
        directory = RunDirectory.open(path)
        config = directory.config()
    except (ValueError, OSError) as error:
        raise CommandError(f"{command}: {words(error)}") from None
    run, _, asked = prepare(arguments, out, command)
    check_data(config, asked, command)
    try:
        if checkpoint is not None:
            source = directory.best if checkpoint == "best" else checkpoint
            load_parameters(str(source), run)
        elif directory.weights.exists() and directory.ending() is not None:
            source = directory.weights
            training.load_weights(source, run.model)
        else:  # a run that is not finished
            source = directory.last_checkpoint()
            load_parameters(str(source), run)
    except (ValueError, OSError) as error:
        raise CommandError(f"{command}: {words(error)}") from None
    out.print(f"{source} on {len(asked.held_out)} held-out rows of {asked.train.name}", markup=False, soft_wrap=True)
    for name, value in run.evaluation().items():
        out.print(f"{metric_title(name)}: {metric_text(name, value, '{:.6g}'.format)}")
    return 0


def load_parameters(path: str, run: Run) -> None:
    """The parameters and buffers of a checkpoint alone.

    Raises:
        CheckpointError: naming the file.
    """
    state = training.read_checkpoint(path, size_limit(run.model))
    try:
        run.model.load_state_dict(state["model"])
    except (ValueError, TypeError, KeyError) as error:
        raise training.CheckpointError(f"{path}: does not fit this run: {words(error)}") from None
