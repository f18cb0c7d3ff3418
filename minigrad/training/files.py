"""Files that are whole or not there: atomic writing, bounded reading."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Put a file in place in one step: a temporary file beside it, flushed to the disk, then renamed.

    Whenever the process ends, or the power fails, the path holds the file from before or the whole new one.

    Raises:
        OSError: naming the path; nothing is left behind then, and the file from before stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise named(error, path) from error
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return path


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder, where the system can: a rename is one of them."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(handle)


def named(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """The same error, saying which file could not be written."""
    return type(error)(error.errno, f"cannot write: {error.strerror or error}", str(path))


def read_bounded(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no regular file, or larger; nothing has been read then.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():  # a pipe would never end
        raise ValueError(f"{path}: is not a regular file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"{path}: holds {size:,} bytes, more than the {limit:,} that it can need")
        data = file.read(size + 1)
    if len(data) > size:
        raise ValueError(f"{path}: grew while it was read")
    return data
