"""Machine code: compiles the text of LLVM IR for this CPU, keeps it in the private cache folder, and loads it.

Code is looked up in this process, then on the disk, and compiled if it is in neither place. A file of the cache is
named by everything that decides the code: the caller's key, the compiler, the CPU, and the sources of this package. It
is used only if its checksum is right and only the user can write to it; otherwise it is replaced. Without a private
folder or space on the disk, code is kept in memory.

LLVM comes from llvmlite, which Numba brings along. It is imported at the first use, because that takes 40 ms.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..kernels.cache import cache_folder, read_private, write_private

_FORMAT = "minigrad machine code 2"
_MOST_FILES = 500
_loaded: dict[tuple[str, tuple[str, ...]], Machine] = {}
_lock = threading.RLock()  # reentrant, because what emits a function may load others


class Machine(NamedTuple):
    """Loaded machine code, which stays loaded until the process ends.

    Attributes:
        addresses: the address of each function.
        cached: whether the code came from the disk.
        size: bytes of the object file.
        engine: owns the code.
    """

    addresses: dict[str, int]
    cached: bool
    size: int
    engine: Any


def machine_code(key: str, emit: Callable[[], str], names: Sequence[str]) -> Machine:
    """Return the machine code of this key, compiling it if it is in neither the process nor the cache.

    Args:
        key: decides what ``emit`` returns, down to the last constant, such as a hash of the parts of a program. What
            the sources in `minigrad.compiled`, LLVM and the CPU contribute to the code need not be in it.
        emit: returns LLVM IR, which calls no functions by name but its own and LLVM's. It is called at most once.
        names: the functions whose addresses are wanted.

    Raises:
        RuntimeError: if LLVM refuses the IR, or it does not define a function of ``names``.
    """
    wanted = key, tuple(names)
    with _lock:
        if wanted not in _loaded:
            _loaded[wanted] = _load(key, emit, wanted[1])
        return _loaded[wanted]


@functools.cache
def problem() -> str:
    """Return why machine code cannot be made here; an empty string if it can."""
    try:
        _llvm().check_jit_execution()
        _target_machine()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"LLVM cannot make code for this machine: {error}"
    return ""


def _load(key: str, emit: Callable[[], str], names: tuple[str, ...]) -> Machine:
    identity = hashlib.sha256("\0".join((_FORMAT, key, *names, *_circumstances())).encode()).hexdigest()
    folder = cache_folder()
    path = folder / f"machine_{identity[:32]}.bin" if folder is not None else None
    found = _read(path, identity) if path is not None else None
    code = _compile(emit()) if found is None else found
    engine = _llvm().create_mcjit_compiler(_llvm().parse_assembly(""), _target_machine())
    engine.add_object_file(_llvm().object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    addresses = {name: engine.get_function_address(name) for name in names}
    missing = [name for name, address in addresses.items() if not address]
    if missing:
        raise RuntimeError(f"the module defines no function {missing[0]!r}")
    if path is not None and found is None:
        _write(path, identity, code)
    return Machine(addresses, found is not None, len(code), engine)


# --- files -----------------------------------------------------------------------------------------------------------


def _write(path: Path, identity: str, code: bytes) -> None:
    """Store code after a checksum, in place of the oldest if there are many; nothing if the disk refuses."""
    with contextlib.suppress(OSError):
        write_private(path, _checksum(identity, code) + code)
        files = sorted(path.parent.glob("machine_*.bin"), key=lambda each: each.stat().st_mtime)
        for old in files[:-_MOST_FILES]:
            old.unlink()


def _read(path: Path, identity: str) -> bytes | None:
    """Return the stored code; ``None`` if the file is missing, damaged or not trusted."""
    content = read_private(path) or b""
    code = content[hashlib.sha256().digest_size :]
    return code if content == _checksum(identity, code) + code else None


def _checksum(identity: str, code: bytes) -> bytes:
    return hashlib.sha256(identity.encode() + code).digest()


@functools.cache
def _circumstances() -> tuple[str, ...]:
    """Everything but the key that decides the code."""
    import llvmlite

    version = ".".join(map(str, _llvm().llvm_version_info))
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.name.encode() + path.read_bytes())
    return llvmlite.__version__, version, *_target(), sources.hexdigest()


# --- LLVM ------------------------------------------------------------------------------------------------------------


@functools.cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _context() -> Any:
    """A context for one module, with the pointers of ``ir.PointerType()``, which do not name what they point to."""
    llvm = _llvm()
    if hasattr(llvm.context, "opaque_pointers_enabled"):  # llvmlite 0.44 reads typed pointers unless this is chosen
        return llvm.context.ContextRef(llvm.ffi.lib.LLVMPY_ContextCreate(True))
    return llvm.create_context()


@functools.cache
def _target() -> tuple[str, str, str]:
    """The triple, the name of the CPU and its features; environment variables change them as they do for Numba."""
    llvm = _llvm()
    cpu = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        try:
            features = "" if cpu == "generic" else llvm.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM does not know how to ask this kind of CPU
            features = ""
    return llvm.get_process_triple(), cpu, features


def _target_machine() -> Any:
    """A new target machine, because an engine owns the one it is made with."""
    triple, cpu, features = _target()
    target = _llvm().Target.from_triple(triple)
    relocation = "static" if target.name.startswith("x86") else "default"  # what loaded code needs, as in Numba
    return target.create_target_machine(cpu=cpu, features=features, opt=2, reloc=relocation, jit=True)


def _compile(text: str) -> bytes:
    """Return the object file of a module given as LLVM IR.

    LLVM's passes on IR are left out: the IR has explicit vectors and no detours, so that they take as long as all the
    rest and gain nothing.
    """
    llvm, machine = _llvm(), _target_machine()
    module = llvm.parse_assembly(text, _context())
    module.triple, module.data_layout = _target()[0], str(machine.target_data)
    module.verify()
    code: bytes = machine.emit_object(module)
    return code
