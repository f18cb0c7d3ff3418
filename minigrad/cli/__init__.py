"""The command ``minigrad``: train, resume, evaluate, explain, report, sweep, compare, list, devices.

`parser` has the table of commands and `options` the table of options, from which `minigrad.recipes` makes a run.
`prepare` is shared by the commands that train. Commands have their own modules.

Exit status: 0 for success, 1 if training failed, 2 for wrong usage, and 128 plus the number of a signal that ended the
command: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
"""

from ..recipes.catalog import OPTIMIZERS
from .entry import main

__all__ = ["OPTIMIZERS", "main"]
