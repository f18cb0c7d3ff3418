"""How commands fail: one line, and a status that scripts can tell apart."""

from __future__ import annotations

FAILED, USAGE = 1, 2


class CommandError(Exception):
    """Ends a command with a line on standard error.

    Attributes:
        status: 2 if nothing has been trained, because of what was asked for; 1 if training has failed.
    """

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(" ".join(message.split()))
        self.status = status


def words(error: BaseException) -> str:
    """An exception in one line; a missing file or a full disk without the number of the error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or ("not enough memory" if isinstance(error, MemoryError) else repr(error))
