"""All options of the command line: those that describe a run (`minigrad.recipes.options`), and those of the command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..recipes import options as recipe_options
from ..recipes.options import HOW, OPTIMIZER, PROBLEM, TRAINING, Arguments, Option, whole
from ..study.records.recorder import EVERY
from ..study.sweeps.grid import NOT_SWEPT, Axis, read_axis
from ..study.sweeps.sweep import SEEDS, VALIDATION

__all__ = ["COMPARE", "OPTIONS", "SWEEP", "TRAIN", "Arguments", "Option", "complete", "whole"]

Groups = dict[str, Sequence[Option]]

DEVICE, EAGER = HOW
RUN = (
    Option("config", "FILE", "a TOML or JSON file with options by these names, or the config.json of a run; options on "
        "the command line take precedence"),
    Option("output", "FOLDER", "where run directories are made", default="runs"),
    Option("name", "NAME", "the name of the run directory, to which a number is added", stated="dataset and optimizer"),
    Option("no_output", "", "write no files", default=False),
    Option("checkpoint_every", "N", "save every N steps as well as after every epoch", whole(1)),
    Option("keep", "N", "how many checkpoints to keep in addition to the best one", whole(1), 2),
    Option("record", "N", "record every layer in record.jsonl every N steps, or every "
        f"{EVERY} without N", whole(1), stated="no recording", bare=EVERY),
    DEVICE,
    Option("threads", "N", "threads of the update kernels; the result does not depend on it", whole(1),
        stated="one per core"),
    EAGER,
    Option("quiet", "", "print only errors", default=False),
)  # fmt: skip

TRAIN: Groups = {
    "the problem": PROBLEM,
    "the training": TRAINING,
    "the optimizer and its hyper-parameters": OPTIMIZER,
    "the run": RUN,
}
OPTIONS = {option.name: option for group in TRAIN.values() for option in group}


# --- sweeps ----------------------------------------------------------------------------------------------------------


def _seeds(text: str) -> int | list[int]:
    found = [whole(0)(part.strip()) for part in text.split(",")]
    if found == [0]:
        raise ValueError("must be 1 or more, or the seeds themselves, such as 3,5,8")
    return found[0] if len(found) == 1 else found


def _axis(name: str) -> Callable[[str], Axis]:
    """Return a reader of the values of an option in a sweep."""

    def read(text: str) -> Axis:
        try:
            return read_axis(name, text)
        except ValueError as error:  # which argparse begins with the name
            raise ValueError(str(error).removeprefix(name).removeprefix(":").strip()) from None

    return read


def _swept(group: Sequence[Option]) -> tuple[Option, ...]:
    """Return the options of a group that may be swept, with several values."""
    return tuple(
        replace(
            each,
            metavar=each.metavar or "true,false",
            read=_axis(each.name),
            repeated=True,
            negated=False,
            help=each.help.replace("; may be given more than once", ""),
        )
        for each in group
        if each.name not in NOT_SWEPT
    )


def _of_sweep(folder: str) -> tuple[Option, ...]:
    """Return the options of a command that makes many runs in a folder."""
    return (
        replace(OPTIONS["config"], help="a TOML or JSON file with options by these names, or the config.json of a run"),
        Option("seeds", "N", "how many seeds, counted from 0, or which, such as 3,5,8", _seeds, SEEDS),
        Option("threads", "N", "how many runs at a time; the results do not depend on it", whole(1),
            stated="one per core"),
        Option("executor", "NAME", "run batches elsewhere: processes, processes:4, dask:ADDRESS or mpi",
            stated="threads"),
        replace(OPTIONS["output"], help="where folders are made"),
        replace(OPTIONS["name"], help="the name of the folder, to which a number is added", stated=folder),
        *(OPTIONS[name] for name in ("no_output", "device", "eager")),
        replace(OPTIONS["quiet"], help="print only the results"),
    )  # fmt: skip


_VALIDATION = replace(OPTIONS["validation"], default=VALIDATION)
SWEEP: Groups = {
    "the problem": (*_swept(PROBLEM), _VALIDATION),
    "the training": _swept(TRAINING),
    "the hyper-parameters": _swept(OPTIMIZER),
    "the sweep": (
        Option("random", "N", "draw N combinations for each optimizer instead of taking all", whole(1)),
        Option("stop_hopeless", "", "after two seeds, leave out the others where the validation loss is above the "
            "median of the optimizer; such runs are marked as stopped", default=False),
        *_of_sweep("sweep"),
    ),
}  # fmt: skip
_NOT_COMPARED = ("seed", "optimizer", "optimizer_option")
COMPARE: Groups = {
    "the problem": tuple(
        _VALIDATION if each.name == "validation" else each for each in PROBLEM if each.name not in _NOT_COMPARED
    ),
    "the training": TRAINING,
    "the hyper-parameters": tuple(each for each in OPTIMIZER if each.name not in _NOT_COMPARED),
    "the comparison": (
        Option("tune", "", "try nine learning rates for each optimizer, and compare at the best by validation",
            default=False),
        *_of_sweep("compare"),
    ),
}  # fmt: skip


def complete(given: Mapping[str, Any]) -> Arguments:
    """Return the arguments of a run and of its command, with the settings of its optimizer and all other defaults."""
    return recipe_options.complete(given, OPTIONS)
