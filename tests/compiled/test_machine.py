"""Machine code: made once for each key, found by a second process, and never loaded from a file that is not trusted."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import minigrad
from minigrad import files
from minigrad.compiled import machine
from minigrad.compiled.machine import machine_code, problem

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")

# Adds a number to each of eight floats at an address, by a pointer and a vector, with a constant from memory.
IR = """
define void @step(ptr %at) {{
  %x = load <8 x float>, ptr %at, align 4
  %y = fadd <8 x float> %x, <float {}.0, float 1.0, float 2.0, float 3.0, float 4.0, float 5.0, float 6.0, float 7.0>
  store <8 x float> %y, ptr %at, align 4
  ret void
}}
"""


def emitter(number=100):
    """Emits the function above, and counts how often."""

    def emit():
        emit.calls += 1
        return IR.format(number)

    emit.calls = 0
    return emit


def result(code):
    """The first of eight zeros, after the function was called."""
    values = (ctypes.c_float * 8)()
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.addresses["step"])(ctypes.addressof(values))
    assert list(values)[1:] == [1, 2, 3, 4, 5, 6, 7]
    return values[0]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty cache folder, and nothing loaded yet."""
    monkeypatch.setenv("MINIGRAD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "_loaded", {})
    return tmp_path / "cache"


@pytest.fixture
def load(folder, monkeypatch):
    """Loads the function as a new process would, and returns whether it was found in the cache."""

    def load(key="key", number=100):
        monkeypatch.setattr(machine, "_loaded", {})
        emit = emitter(number)
        code = machine_code(key, emit, ["step"])
        assert result(code) == number
        assert code.cached == (not emit.calls)
        return code.cached

    return load


def stored(folder):
    return next(folder.glob("machine_*.bin"))


def test_code_is_made_once_in_a_process(folder):
    assert problem() == ""
    emit = emitter()
    first, second = (machine_code("key", emit, ["step"]) for _ in range(2))
    assert first is second
    assert emit.calls == 1
    assert result(first) == 100


def test_code_is_found_on_the_disk(folder, monkeypatch):
    made = machine_code("key", emitter(), ["step"])
    monkeypatch.setattr(machine, "_loaded", {})
    found = machine_code("key", emitter(7), ["step"])
    assert (made.cached, found.cached) == (False, True)
    assert result(found) == 100


def test_the_oldest_files_of_many_are_removed(load, folder, monkeypatch):
    monkeypatch.setattr(machine, "_MOST_FILES", 2)
    for number in range(3):
        assert not load(str(number), number)
        os.utime(max(folder.glob("machine_*.bin"), key=lambda path: path.stat().st_mtime), (number, number))
    assert len(list(folder.glob("machine_*.bin"))) == 2
    assert load("2", 2)
    assert load("1", 1)
    assert not load("0", 0)


@pytest.fixture
def circumstances():
    """Forgets the CPU and the sources that were found, and again after the test."""

    def forget():
        machine._target.cache_clear()
        machine._circumstances.cache_clear()

    yield forget
    forget()


def test_another_key_or_cpu_is_another_file(load, folder, circumstances, monkeypatch):
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    circumstances()
    assert not load("one", 1)
    assert not load("two", 2)
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    circumstances()
    assert machine._target()[1:] == ("generic", "")
    assert not load("one", 1)
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+sse2")
    circumstances()
    assert machine._target()[1:] == ("generic", "+sse2")
    assert len(list(folder.glob("machine_*.bin"))) == 3


def test_another_source_of_the_package_is_another_file(load, circumstances, monkeypatch):
    assert not load()
    assert load()
    real = Path.read_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: real(path) + b"#" * (path.name == "machine.py"))
        circumstances()
        assert not load()


# Files that cannot be used


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def overwrite(path):
    path.write_bytes(b"\x7fELF, but not what was written\n" * 9)


def remove(path):
    path.unlink()


def flip(place):
    def flip_a_bit(path):
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)

    return flip_a_bit


DAMAGES = [truncate, empty, overwrite, remove, flip(0), flip(31), flip(32), flip(70), flip(-1), flip(500)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again(damage, load, folder):
    assert not load()
    damage(stored(folder))
    assert not load()
    assert load()


def test_the_code_of_another_key_is_not_loaded(load, folder):
    load("one", 1)
    other = stored(folder).read_bytes()
    stored(folder).unlink()
    load("two", 2)
    stored(folder).write_bytes(other)
    assert not load("two", 2)


def test_a_folder_in_the_place_of_a_file_means_memory(load, folder):
    load()
    path = stored(folder)
    path.unlink()
    path.mkdir()
    assert not load()
    assert not load()
    assert list(folder.glob(".*.tmp")) == []


@posix
def test_a_file_that_others_can_write_to_is_made_again(load, folder):
    """Another user who can write to it can make its checksum right."""
    for mode in (0o666, 0o620):
        load()
        stored(folder).chmod(mode)
        assert not load()
        assert stored(folder).stat().st_mode & 0o777 == 0o600
        assert load()


@posix
def test_a_file_is_private_whatever_the_umask_is(load, folder):
    before = os.umask(0)
    try:
        load()
    finally:
        os.umask(before)
    assert stored(folder).stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_read_is_made_again(load, monkeypatch):
    load()
    real = Path.read_bytes

    def refused(path):
        if path.suffix == ".bin":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert not load()
    monkeypatch.setattr(Path, "read_bytes", real)
    assert load()


def test_a_full_disk_means_memory(load, folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert not load()
    assert not [path for path in folder.iterdir() if path.is_file()]
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        assert not load()
    assert not [path for path in folder.iterdir() if path.is_file()]


def test_without_a_cache_folder_code_is_kept_in_memory(load, folder, monkeypatch):
    monkeypatch.setenv("MINIGRAD_CACHE_DIR", "")
    assert not load()
    assert not load()
    assert not folder.exists()


@posix
def test_a_folder_that_others_can_write_to_or_that_is_read_only_is_not_used(load, folder, monkeypatch):
    load()
    folder.chmod(0o777)
    assert not load()
    folder.chmod(0o500)
    if os.getuid():
        assert not load()
    else:  # root may write everywhere
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert not load()


# Errors


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("define void @step( {", ["step"], "parsing error"),
        ("define i32 @step() {\n ret i64 0\n}", ["step"], "parsing error"),
        ("define void @other() {\n ret void\n}", ["step"], "defines no function 'step'"),
        ("declare void @step()", ["step"], "defines no function 'step'"),
    ],
)
def test_a_module_that_cannot_be_used_is_an_error_and_leaves_nothing(text, names, message, load, folder):
    with pytest.raises(RuntimeError, match=message):
        machine_code("key", lambda: text, names)
    assert not list(folder.glob("machine_*"))
    assert not load()


def test_an_error_of_the_emitter_leaves_nothing(load, folder):
    def emit():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        machine_code("key", emit, ["step"])
    assert not load()


def test_what_is_missing_for_machine_code_is_a_reason(monkeypatch):
    def refuse():
        raise RuntimeError("No available targets are compatible")

    problem.cache_clear()
    try:
        monkeypatch.setattr(machine, "_target_machine", refuse)
        assert problem() == "LLVM cannot make code for this machine: No available targets are compatible"
    finally:
        problem.cache_clear()


# Threads and processes


def test_threads_that_want_the_same_code_make_it_once(folder):
    found, ready = [], threading.Barrier(4)
    emit = emitter()

    def slow():
        time.sleep(0.05)
        return emit()

    def work():
        ready.wait()
        found.append(machine_code("key", slow, ["step"]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert emit.calls == 1
    assert len({id(code) for code in found}) == 1


def test_an_emitter_may_load_other_code(folder):
    def outer():
        return IR.format(int(result(machine_code("inner", emitter(3), ["step"]))) + 1)

    assert result(machine_code("outer", outer, ["step"])) == 4


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_machine
for key in range(8):
    code = test_machine.machine_code(str(key), test_machine.emitter(key), ["step"])
    assert test_machine.result(code) == key
    print(code.cached)
"""


def process(folder):
    root = str(Path(minigrad.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONPATH": path, "MINIGRAD_CACHE_DIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(running):
    out, error = running.communicate(timeout=120)
    assert running.returncode == 0, error
    return out.split()


@pytest.mark.slow
def test_processes_at_once_fill_the_cache_and_a_later_one_compiles_nothing(folder):
    for running in [process(folder) for _ in range(3)]:
        assert len(finished(running)) == 8
    assert finished(process(folder)) == ["True"] * 8
    assert len(list(folder.glob("machine_*.bin"))) == 8
    assert not list(folder.glob(".*.tmp"))
