"""The cache of kernels: a second process compiles nothing; a cache that cannot be used or trusted is not."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from optim_tools import leaves, take_step

import minigrad
from minigrad import files, optim
from minigrad.kernels import cache
from minigrad.kernels.cpu import kernel_source
from minigrad.kernels.plan import Plan
from minigrad.optim import apply_update

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")

# One step of LAMB: prints how many functions were loaded, how many were compiled, and the result.
SCRIPT = """
import numpy as np
from minigrad import optim
from minigrad import Tensor
w = Tensor(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), requires_grad=True)
o = optim.LAMB([w], lr=0.1)
w.grad = Tensor(np.ones((2, 3), np.float32))
o.step()
functions = [*o.prepare().kernels[0].passes, o.prepare().kernels[0].step]
print(sum(sum(f.stats.cache_hits.values()) for f in functions), end=" ")
print(sum(sum(f.stats.cache_misses.values()) for f in functions), w.data.tobytes().hex())
"""


def process(folder):
    root = str(Path(minigrad.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "MINIGRAD_CACHE_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(running):
    out, error = running.communicate(timeout=120)
    assert running.returncode == 0, error
    hits, misses, result = out.split()
    return int(hits), int(misses), result


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def expected():
    params = leaves({"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)})
    after = take_step(optim.LAMB(list(params.items()), lr=0.1), params, {"w": np.ones((2, 3))})
    return after["w"].tobytes().hex()


@pytest.mark.slow
def test_two_processes_at_once_fill_an_empty_cache_and_a_third_compiles_nothing(tmp_path):
    folder = tmp_path / "kernels"
    both = [process(folder), process(folder)]
    for running in both:
        _, misses, result = finished(running)
        assert misses <= 3
        assert result == expected()
    before = times(folder)
    assert finished(process(folder)) == (3, 0, expected())
    assert times(folder) == before
    assert not list(folder.glob("*.tmp"))
    assert os.name == "nt" or folder.stat().st_mode & 0o777 == 0o700


# In this process, on a small kernel of their own


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and no kernel loaded yet."""
    monkeypatch.setattr(cache, "_loaded", {})
    monkeypatch.setenv("MINIGRAD_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


SOURCE = kernel_source(Plan([apply_update]), np.dtype(np.float32))


def loaded(monkeypatch):
    """Load the kernel as a new process would; how many functions came from the cache, and whether it computes."""
    monkeypatch.setattr(cache, "_loaded", {})
    function = cache.load_source(SOURCE)["pass_1"]
    grad, param = np.ones(4, np.float32), np.ones(4, np.float32)
    function(grad, param, np.array([[0, 4, 0]]), 0, 1, np.array([[0.25]]))
    assert np.all(param == 0.75)
    return sum(function.stats.cache_hits.values())


def test_a_kernel_comes_from_the_cache_the_second_time(fresh, monkeypatch):
    assert [loaded(monkeypatch), loaded(monkeypatch)] == [0, 1]
    (path,) = fresh.glob("*.py")
    assert path.name.startswith("kernel_")
    assert "def pass_1(" in path.read_text()


def damage_text(folder):
    next(folder.glob("*.py")).write_text("raise SystemError('not what was written')\n")


def damage_index(folder):
    next(folder.rglob("*.nbi")).write_bytes(b"\x80\x04garbage")


def damage_data(folder):
    next(folder.rglob("*.nbc")).write_bytes(b"garbage")


def truncate_everything(folder):
    for path in [*folder.glob("*.py"), *folder.rglob("*.nb?")]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_everything(folder):
    for path in [*folder.glob("*.py"), *folder.rglob("*.nb?")]:
        path.write_bytes(b"")


def remove_data(folder):
    next(folder.rglob("*.nbc")).unlink()


@pytest.mark.parametrize(
    "damage", [damage_text, damage_index, damage_data, truncate_everything, empty_everything, remove_data]
)
def test_a_damaged_cache_works_and_is_whole_again_afterwards(damage, fresh, monkeypatch):
    loaded(monkeypatch)
    damage(fresh)
    loaded(monkeypatch)
    loaded(monkeypatch)
    assert loaded(monkeypatch) == 1


def test_an_empty_name_keeps_kernels_in_memory(fresh, monkeypatch):
    monkeypatch.setenv("MINIGRAD_CACHE_DIR", "")
    assert cache.cache_folder() is None
    assert loaded(monkeypatch) == 0
    assert not fresh.exists()


def test_a_place_that_cannot_be_a_folder_falls_back_to_memory(fresh, monkeypatch):
    fresh.write_text("a file")
    for place in (fresh, fresh / "below"):
        monkeypatch.setenv("MINIGRAD_CACHE_DIR", str(place))
        assert cache.cache_folder() is None
        assert loaded(monkeypatch) == 0


def test_a_folder_that_cannot_be_written_falls_back_to_memory(fresh, monkeypatch):
    """Whether by its permissions, or because the disk is full or read-only, which shows at the first write."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cache.cache_folder() is None
    monkeypatch.undo()
    monkeypatch.setenv("MINIGRAD_CACHE_DIR", str(fresh))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "temporary_for", full)
    assert loaded(monkeypatch) == 0
    assert not [path for path in fresh.rglob("*") if path.is_file()]


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_not_used(mode, fresh, monkeypatch):
    """Loading compiled code means running it."""
    fresh.mkdir()
    fresh.chmod(mode)
    assert cache.cache_folder() is None
    assert loaded(monkeypatch) == 0
    assert not list(fresh.iterdir())


@posix
def test_a_folder_of_another_user_is_not_used(fresh, monkeypatch):
    fresh.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: fresh.stat().st_uid + 1)
    assert cache.cache_folder() is None


@posix
def test_the_folder_is_in_the_users_own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIGRAD_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache.cache_folder() == tmp_path / "cache" / "minigrad" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "minigrad" / "kernels"


def test_another_source_is_another_file(fresh):
    for dtype in (np.float32, np.float64):
        cache.load_source(kernel_source(Plan([apply_update]), np.dtype(dtype)))
    assert len(list(fresh.glob("kernel_*.py"))) == 2
