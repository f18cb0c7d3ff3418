"""How wide printed text may be."""

from __future__ import annotations

import shutil

WIDEST = 118


def width() -> int:
    """The columns of the terminal, or of a page where there is none, and no more than a line that can be read."""
    return min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
