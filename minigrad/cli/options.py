"""All options of the command line: those that describe a run, and those of the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..recipes import options as recipe_options
from ..recipes.options import HOW, OPTIMIZER, PROBLEM, TRAINING, Arguments, Option, whole
from ..study.records.recorder import EVERY

__all__ = ["GROUPS", "OPTIONS", "Arguments", "Option", "complete", "whole"]

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

GROUPS = {
    "the problem": PROBLEM,
    "the training": TRAINING,
    "the optimizer and its hyper-parameters": OPTIMIZER,
    "the run": RUN,
}
OPTIONS = {option.name: option for group in GROUPS.values() for option in group}


def complete(given: Mapping[str, Any]) -> Arguments:
    """Return the arguments of a run and of its command, with the settings of its optimizer and all other defaults."""
    return recipe_options.complete(given, OPTIONS)
