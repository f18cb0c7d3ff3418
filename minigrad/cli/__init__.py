"""The command ``minigrad``: train, resume, evaluate, explain, report, compare, list, devices.

`parser` has the table of commands, `options` the table of options, and `catalog` the names that options accept.
`recipe` makes a run from the options; `prepare` is shared by the commands that train. Commands have their own modules.

Exit status: 0 for success, 1 if training failed, 2 for wrong usage, and 128 plus the number of a signal that ended the
command: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
"""

from .catalog import OPTIMIZERS
from .entry import main

__all__ = ["OPTIMIZERS", "main"]
