"""The cache of generated kernels: source files named by their content, in a folder private to the user.

Numba's disk cache needs a real file, and keeps the compiled code next to it, so a second process loads a kernel in a
fraction of the time that compiling takes. A folder that others could write to is never used, because loading compiled
code means running it. Without a private folder, kernels are kept in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_loaded: dict[str, dict[str, Any]] = {}


def cache_folder() -> Path | None:
    """The folder for generated kernels, created if necessary; ``None`` if there is no private, writable one.

    ``MINIGRAD_CACHE_DIR`` names it, or it is ``minigrad/kernels`` in ``XDG_CACHE_HOME`` or ``~/.cache``
    (``LOCALAPPDATA`` on Windows). Set ``MINIGRAD_CACHE_DIR`` to an empty string to keep kernels in memory.
    """
    chosen = os.environ.get("MINIGRAD_CACHE_DIR")
    if chosen == "":
        return None
    try:
        if chosen is not None:
            folder = Path(chosen).absolute()
        elif sys.platform == "win32":
            folder = Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "minigrad" / "kernels"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME", ""))
            folder = (base if base.is_absolute() else Path.home() / ".cache") / "minigrad" / "kernels"
        compiled = folder / "__pycache__"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (_is_private(folder) and _is_guarded(folder.parent) and os.access(folder, os.W_OK | os.X_OK)):
            return None
        compiled.mkdir(mode=0o700, exist_ok=True)
        return folder if _is_private(compiled) else None
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None


def _is_private(path: Path) -> bool:
    """Whether only the user can write to a file, or create files in a folder."""
    if not hasattr(os, "getuid"):
        return True  # Windows: the profile folder belongs to the user
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_guarded(folder: Path) -> bool:
    """Whether only the user can rename its folders: it is not writable for others, or only for adding (sticky)."""
    mode = folder.stat().st_mode
    return not mode & (stat.S_IWGRP | stat.S_IWOTH) or bool(mode & stat.S_ISVTX)


def load_source(source: str) -> dict[str, Any]:
    """Run generated source, compiling the kernels in it or loading them from the cache.

    ``cache=CACHE`` in the source becomes whether Numba may keep what it compiles.
    """
    key = hashlib.sha256(source.encode()).hexdigest()[:32]
    if key not in _loaded:
        folder = cache_folder()
        module = _from_file(folder, key, source) if folder is not None else None
        _loaded[key] = _from_memory(source) if module is None else vars(module)
    return _loaded[key]


def _from_file(folder: Path, key: str, source: str) -> ModuleType | None:
    """Import the source as a file of the cache; ``None`` if the disk or the entry is not usable."""
    path = folder / f"kernel_{key}.py"
    text = source.replace("cache=CACHE", "cache=True")
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_private(path, text.encode())
        return _import(path)
    except Exception:  # a full disk, a damaged entry: compiling in memory still works
        for stale in folder.glob(f"__pycache__/kernel_{key}.*"):
            with contextlib.suppress(OSError):
                stale.unlink()
        return None


def write_private(path: Path, data: bytes) -> None:
    """Write a file of the cache, so that another process sees all of it or nothing, and only the user can write to it.

    Raises:
        OSError: if the disk is full, or the path is a folder; the file from before stays.
    """
    from .. import files  # here, because most processes write nothing

    files.clear_stale(path.parent, path.name)
    with files.temporary_for(path, mode=0o600) as temporary:
        temporary.write_bytes(data)  # not flushed to the disk: what a power failure damages is made again
        os.replace(temporary, path)


def read_private(path: Path) -> bytes | None:
    """Return a file of the cache; ``None`` if it cannot be read, or others could have written to it."""
    try:
        return path.read_bytes() if path.is_file() and _is_private(path) else None
    except OSError:
        return None


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"minigrad.generated.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Numba looks up the module of a cached function by name, and refuses to load it without.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _from_memory(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "minigrad.generated.in_memory"}
    exec(compile(source.replace("cache=CACHE", "cache=False"), "<minigrad kernel>", "exec"), namespace)
    return namespace
