"""Files: atomic writing, locks, reading of bounded size, and JSON documents with a format and a version."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A temporary file has a random name, because process numbers repeat in the next container. Earlier versions used these.
_TEMPORARY = re.compile(r"\.(.+)\.(?:[0-9a-f]{16}|\d+)\.tmp", re.DOTALL)
_LONG_AGO = 3600.0  # seconds after which a temporary file is stale where the system has no locks


def write_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file in one step: a temporary file next to it, flushed to the disk, then renamed.

    Even if the process is killed or the power fails, the path holds either the file from before or the whole new one.
    A temporary file of a killed process is deleted by the next one that writes the same path.

    Raises:
        OSError: naming the path; the file from before stays, and no temporary file.
    """
    path = Path(path)
    clear_stale(path.parent, path.name)
    try:
        with temporary_for(path) as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise named(error, path) from error
    return path


def link_atomically(source: Path, path: Path) -> None:
    """Give a file that never changes a second name in one step; copy it if the file system has no links.

    Raises:
        OSError: naming the path, which is unchanged.
    """
    temporary = _temporary_name(path)
    try:
        os.link(source, temporary)
    except OSError:
        write_atomically(path, source.read_bytes())
        return
    try:
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise named(error, path) from error
    finally:
        with contextlib.suppress(OSError):  # a rename to another name of the same file does nothing
            temporary.unlink(missing_ok=True)


# --- temporary files and folders -------------------------------------------------------------------------------------


@contextlib.contextmanager
def temporary_for(path: Path, *, folder: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """A new empty file or folder next to a path, to be renamed to it; if it was not, it is deleted at the end.

    It is locked, so that `clear_stale` in another process does not delete it.

    Args:
        path: the path.
        folder: make a folder.
        mode: the permissions of a file, of which the umask removes some.
    """
    handle, temporary = None, path
    while handle is None:
        temporary = _temporary_name(path)
        if folder:
            temporary.mkdir()
        else:
            temporary.touch(mode, exist_ok=False)
        handle = _hold(temporary)
    try:
        yield temporary
    finally:
        if folder:
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if handle >= 0:
            os.close(handle)


def clear_stale(folder: Path, name: str | None = None, holding: Collection[str] = ()) -> None:
    """Delete the temporary files in a folder whose writer was killed. Running processes keep theirs locked.

    Args:
        folder: the folder; one that cannot be read is left unchanged.
        name: delete only temporary files of this file.
        holding: delete temporary folders instead of files, if they hold nothing but these names.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.fullmatch(entry.name)
            if found is None or name not in (None, found[1]):
                continue
            path = Path(entry.path)
            if not holding and entry.is_file(follow_symlinks=False):
                _delete_if_stale(path, os.unlink)
            elif holding and entry.is_dir(follow_symlinks=False) and _holds_only(path, holding):
                _delete_if_stale(path, shutil.rmtree)


def _holds_only(folder: Path, names: Collection[str]) -> bool:
    return all(name in names or _TEMPORARY.fullmatch(name) for name in os.listdir(folder))


def _delete_if_stale(path: Path, delete: Callable[[Path], object]) -> None:
    with contextlib.suppress(OSError):
        if fcntl is None:
            is_free = None
        else:
            handle = os.open(path, os.O_RDONLY)
            try:
                is_free = lock(handle)
                if is_free:
                    delete(path)
            finally:
                os.close(handle)
        if is_free is None and time.time() - path.stat().st_mtime > _LONG_AGO:
            delete(path)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def _hold(path: Path) -> int | None:
    """A handle that locks a new path; -1 without locks, ``None`` if `clear_stale` of another process came first."""
    if fcntl is None:
        return -1
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    if lock(handle) is False or not path.exists():
        os.close(handle)
        return None
    return handle


def lock(handle: int) -> bool | None:
    """Lock an open file or folder until it is closed or the process ends.

    Returns:
        Whether it is locked now; ``False`` if another process holds it, ``None`` if the system has no such locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """A block in which no other process may write a folder, if the system has locks.

    Raises:
        ValueError: if another process is writing it; ``what`` it writes is part of the message.
        OSError: if it cannot be opened.
    """
    if os.name != "posix":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if lock(handle) is False:
            raise ValueError(f"{folder}: another process is writing this {what}")
        yield
    finally:
        os.close(handle)


# --- the rest of writing and reading ---------------------------------------------------------------------------------


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder, if the system can, so that a renamed file survives a power failure."""
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
    """Return the same error, which names the file that could not be written, and the folder if it is missing."""
    folder = Path(path).parent
    missing = f"; the folder {folder} does not exist" if error.errno == errno.ENOENT and not folder.exists() else ""
    return type(error)(error.errno, f"cannot write: {error.strerror or error}{missing}", str(path))


def read_bounded(path: str | os.PathLike[str], limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not a regular file, or larger; it is not read.
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


# --- JSON documents --------------------------------------------------------------------------------------------------


def parse_json(path: str | os.PathLike[str], data: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: naming the path, if it is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError(f"{path}: is not readable JSON (it is nested too deeply)") from None
    except ValueError as error:
        raise ValueError(f"{path}: is not readable JSON ({error})") from None


@dataclass(frozen=True)
class Format:
    """A kind of JSON document. Every document holds the name of its format and a version.

    Attributes:
        name: the value of ``"format"`` in the document.
        what: the name in messages for a document of this kind, such as ``"a checkpoint"``.
        version: the version that is written, and the newest that is read.
        error: the exception that `check` raises.
    """

    name: str
    what: str
    version: int = 1
    error: type[ValueError] = ValueError

    def stamped(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document with these values."""
        return {"format": self.name, "version": self.version, **values}

    def check(self, path: str | os.PathLike[str], document: Any) -> dict[str, Any]:
        """Return the document.

        Raises:
            ValueError: of the class `error`, naming the path, if it has another format or a newer version.
        """
        if not isinstance(document, dict) or document.get("format") != self.name:
            found = document.get("format") if isinstance(document, dict) else None
            raise self.error(f"{path}: is not {self.what}" + (f"; its format is {found!r:.80}" if found else ""))
        version = document.get("version")
        if type(version) is not int or version < 1:
            raise self.error(f"{path}: is damaged: its version is {version!r:.20}")
        if version > self.version:
            raise self.error(
                f"{path}: was written by a newer minigrad (version {version} of the format; this one reads up to "
                f"{self.version})"
            )
        return document

    def write(self, path: str | os.PathLike[str], values: Mapping[str, Any]) -> Path:
        """Write a document atomically.

        Raises:
            OSError: naming the path; the file from before stays.
        """
        return write_atomically(path, (json.dumps(self.stamped(values), indent=2, allow_nan=False) + "\n").encode())

    def read(self, path: str | os.PathLike[str], limit: int) -> dict[str, Any]:
        """Read a document of at most ``limit`` bytes.

        Raises:
            FileNotFoundError: if the file does not exist.
            ValueError: naming the path, if it is damaged, of another format or of a newer version.
        """
        return self.check(path, parse_json(path, read_bounded(path, limit)))
