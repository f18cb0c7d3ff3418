"""Source lines of the call sites of operations, and how they are shown."""

from __future__ import annotations

import itertools
import linecache
import os
from dataclasses import dataclass
from types import CodeType

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True)
class SourceLine:
    """A line of code.

    Attributes:
        file: the file's path, or Python's name for code without a file, such as ``"<stdin>"``.
        line: its number, from 1.
        function: the name of the function that contains it; ``"<module>"`` outside of functions.
        text: the line without its indentation; empty if it is not available, as for lines typed at the prompt.
        columns: where in ``text`` the call begins and ends, or ``None``.
    """

    file: str
    line: int
    function: str
    text: str
    columns: tuple[int, int] | None

    @property
    def title(self) -> str:
        """The place as text: ``"train.py:14, in forward"``."""
        file = self.file
        if "ipykernel_" in file or file.startswith("<ipython-input"):
            return f"line {self.line} of a notebook cell{self._function}"
        if file.startswith("<"):
            return f"line {self.line} at the prompt{self._function}" if "std" in file else f"{file}:{self.line}"
        if file.startswith(PACKAGE):
            file = os.path.join("minigrad", file.removeprefix(PACKAGE))
        else:
            file = file.removeprefix(os.getcwd() + os.sep)
        return f"{file}:{self.line}{self._function}"

    @property
    def _function(self) -> str:
        return "" if self.function.startswith("<") else f", in {self.function}"

    def lines(self) -> list[str]:
        """The text, and a line with marks under the call."""
        if not self.text:
            return []
        if self.columns is None or self.columns == (0, len(self.text)):
            return [self.text]
        start, end = self.columns
        return [self.text, " " * start + "^" * (end - start)]


def source_line(code: CodeType, instruction: int) -> SourceLine:
    """The line that an instruction of some code comes from."""
    positions = next(itertools.islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    line, last_line, start, end = positions
    if line is None:
        line = code.co_firstlineno
    whole = linecache.getline(code.co_filename, line).rstrip()
    text = whole.lstrip()
    columns = None
    if start is not None and end is not None and line == last_line and text:
        indent = len(whole) - len(text)  # columns count the bytes of UTF-8
        start, end = (len(whole.encode()[:n].decode(errors="replace")) - indent for n in (start, end))
        columns = (start, end) if 0 <= start < end <= len(text) else None
    return SourceLine(code.co_filename, line, code.co_name, text, columns)
