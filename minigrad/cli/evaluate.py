"""``minigrad evaluate``: the held-out metrics of a run's weights."""

from __future__ import annotations

from .. import training
from ..recipes.recipe import tested
from ..text import metric_text, metric_title
from ..training import Run
from ..training._run_directory import RunDirectory
from ..training.checkpoint import size_limit
from .display import console
from .ending import CommandError, words
from .options import Arguments
from .parser import arguments_of_run
from .prepare import check_data, prepare

COMMAND = "minigrad evaluate"


def evaluate(given: Arguments) -> int:
    """Print the loss and the metrics of the weights of a run, of its best checkpoint, or of any other one."""
    path, checkpoint = given.pop("run"), given.pop("checkpoint", None)
    out = console(given.get("quiet", False))
    try:
        directory = RunDirectory.open(path)
        config = directory.config()
    except (ValueError, OSError) as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None
    run, asked = prepare(arguments_of_run(directory, config, given), out, COMMAND)
    check_data(config, asked, COMMAND)
    try:
        if checkpoint is not None:
            source = directory.best if checkpoint == "best" else checkpoint
            _load_parameters(str(source), run)
        elif directory.weights.exists() and directory.ending() is not None:
            source = directory.weights
            training.load_weights(source, run.model)
        else:  # a run that is not finished
            source = directory.last_checkpoint()
            _load_parameters(str(source), run)
    except (ValueError, OSError) as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None
    test = "" if asked.test is None else f" and {len(asked.test)} test rows"
    text = f"{source} on {len(asked.held_out)} held-out rows{test} of {asked.train.name}"
    out.print(text, markup=False, soft_wrap=True)
    for name, value in {**run.evaluation(), **tested(run, asked)}.items():
        out.print(f"{metric_title(name)}: {metric_text(name, value, '{:.6g}'.format)}")
    return 0


def _load_parameters(path: str, run: Run) -> None:
    """Load only the parameters and buffers of a checkpoint.

    Raises:
        CheckpointError: naming the file.
    """
    state = training.read_checkpoint(path, size_limit(run.model))
    try:
        run.model.load_state_dict(state["model"])
    except (ValueError, TypeError, KeyError) as error:
        raise training.CheckpointError(f"{path}: does not fit this run: {words(error)}") from None
