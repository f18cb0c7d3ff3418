"""How wide printed text may be."""

from __future__ import annotations

import shutil

WIDEST = 118


def width() -> int:
    """The columns of the terminal, or of a page without one, but at most `WIDEST` for readable lines."""
    return min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
