"""Machine code: compiles LLVM IR for this CPU, keeps it in the private cache folder, and loads it.

Code is looked up in this process, then on the disk, and compiled if it is in neither place. A file of the cache is
named by everything that decides the code: the caller's key, the compiler and its options, the CPU, and the sources of
this package. It is used only if its checksum is right and only the user can write to it; otherwise it is replaced.
Without a private folder or space on the disk, code is kept in memory.

LLVM comes from llvmlite, which Numba brings along. It is imported at the first use, because that takes 40 ms.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kernels.cache import cache_folder, read_private, write_private

if TYPE_CHECKING:
    from llvmlite import ir

_FORMAT = "minigrad machine code 1"
_loaded: dict[tuple[str, tuple[str, ...]], Machine] = {}
_lock = threading.RLock()  # reentrant, because what emits a function may load others


@dataclass(frozen=True)
class Machine:
    """Loaded machine code, which stays loaded until the process ends.

    Attributes:
        addresses: the address of each function.
        notes: what the emitter wrote down about the code.
        seconds: how long each part took: ``"start"`` to start LLVM and read the cache; if the code was not in it,
            ``"emit"`` to build the IR, ``"llvm"`` to compile it and ``"write"`` to store the code; ``"load"``.
        cached: whether the code came from the disk.
        size: bytes of the object file.
    """

    addresses: dict[str, int]
    notes: dict[str, Any]
    seconds: dict[str, float]
    cached: bool
    size: int
    _engine: Any  # owns the code

    def address(self, name: str) -> int:
        """Return the address of a function.

        Raises:
            KeyError: if the code was not loaded with this name.
        """
        return self.addresses[name]


def machine_code(key: str, emit: Callable[[], tuple[ir.Module | str, dict[str, Any]]], names: Sequence[str]) -> Machine:
    """Return the machine code of this key, compiling it if it is in neither the process nor the cache.

    Args:
        key: decides what ``emit`` returns, down to the last constant; usually a hash of a graph. What the sources in
            `minigrad.compiled`, LLVM and the CPU contribute to the code need not be in it.
        emit: returns LLVM IR and notes about it, which can be written as JSON. Notes are read back from JSON in any
            case, so that they are the same whether the code was compiled or found. It is called at most once.
        names: the functions whose addresses are wanted.

    Raises:
        RuntimeError: if LLVM refuses the IR, or it does not define a function of ``names``, or it declares one that
            is not an intrinsic of LLVM.
    """
    wanted = key, tuple(names)
    found = _loaded.get(wanted)
    if found is None:
        with _lock:
            found = _loaded.get(wanted)
            if found is None:
                found = _loaded[wanted] = _load(key, emit, wanted[1])
    return found


@functools.cache
def problem() -> str:
    """Return why machine code cannot be made here; an empty string if it can."""
    try:
        _llvm().check_jit_execution()
        _target_machine()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"LLVM cannot make code for this machine: {error}"
    return ""


def _load(key: str, emit: Callable[[], tuple[ir.Module | str, dict[str, Any]]], names: tuple[str, ...]) -> Machine:
    clock = [time.perf_counter()]

    def lap() -> float:
        clock.append(time.perf_counter())
        return clock[-1] - clock[-2]

    identity = hashlib.sha256("\0".join((_FORMAT, key, *names, *_circumstances())).encode()).hexdigest()
    folder = cache_folder()
    path = folder / f"machine_{identity[:32]}.bin" if folder is not None else None
    found = _read(path, identity) if path is not None else None
    seconds = {"start": lap()}
    if found is None:
        module, noted = emit()
        text, notes = str(module), json.dumps(noted)
        seconds["emit"] = lap()
        code = _compile(text, names)
        seconds["llvm"] = lap()
        if path is not None:
            _write(path, identity, notes, code)
        seconds["write"] = lap()
    else:
        notes, code = found
    addresses, engine = _link(code, names)
    seconds["load"] = lap()
    return Machine(addresses, json.loads(notes), seconds, found is not None, len(code), engine)


# --- files -----------------------------------------------------------------------------------------------------------


def _write(path: Path, identity: str, notes: str, code: bytes) -> None:
    """Store the notes (one line) and the code, after a checksum; nothing is stored if the disk refuses."""
    content = notes.encode() + b"\n" + code
    with contextlib.suppress(OSError):
        write_private(path, _checksum(identity, content) + b"\n" + content)


def _read(path: Path, identity: str) -> tuple[str, bytes] | None:
    """Return the stored notes and code; ``None`` if the file is missing, damaged or not trusted."""
    checksum, _, content = (read_private(path) or b"").partition(b"\n")
    if checksum != _checksum(identity, content):
        return None
    notes, _, code = content.partition(b"\n")
    return notes.decode(), code


def _checksum(identity: str, content: bytes) -> bytes:
    return hashlib.sha256(identity.encode() + content).hexdigest().encode()


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


def _compile(text: str, names: tuple[str, ...]) -> bytes:
    """Return the object file of a module given as LLVM IR.

    LLVM's passes on IR are left out: the IR has explicit vectors and no detours, so that they take as long as all the
    rest and gain nothing.
    """
    llvm = _llvm()
    machine = _target_machine()
    module = llvm.parse_assembly(text, _context())
    module.triple, module.data_layout = _target()[0], str(machine.target_data)
    module.verify()
    _check_names(module, names)
    return machine.emit_object(module)


def _check_names(module: Any, names: tuple[str, ...]) -> None:
    """Refuse functions by name, because LLVM ends a process that loads code which calls one that does not exist."""
    defined = {function.name for function in module.functions if not function.is_declaration}
    for name in names:
        if name not in defined:
            raise RuntimeError(f"the module defines no function {name!r}")
    for function in module.functions:
        if function.is_declaration and not function.name.startswith("llvm."):
            raise RuntimeError(f"the module declares {function.name!r}: its address must be an argument")


def _link(code: bytes, names: tuple[str, ...]) -> tuple[dict[str, int], Any]:
    """Load an object file; return the addresses of functions and the owner of the memory that they are in."""
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return {name: engine.get_function_address(name) for name in names}, engine
