"""What installing gives: the files in the wheel, the command, an import that stays light."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "minigrad"


def test_importing_minigrad_loads_the_rooms_of_training_and_study_on_first_use():
    code = """if True:
        import sys, minigrad
        rooms = ("anomalies", "cli", "recipes", "schedulers", "study", "training")
        assert not [name for name in sys.modules if name.startswith("minigrad.") and name.split(".")[1] in rooms]
        assert {"schedulers", "study", "training"} <= set(dir(minigrad))
        minigrad.schedulers.StepLR, minigrad.study.Recorder, minigrad.training.fit
        try:
            minigrad.studi
        except AttributeError as error:
            assert "has no attribute 'studi'" in str(error)
    """
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("heavy", ["matplotlib", "numba", "rich", "safetensors", "jinja2", "torch"])
def test_importing_minigrad_does_not_import(heavy):
    code = f"import sys, minigrad; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_installed_package_holds_its_data():
    files = resources.files("minigrad")
    assert files.joinpath("py.typed").is_file()
    assert files.joinpath("data", "digits.npz").is_file()
    assert "CC BY 4.0" in files.joinpath("data", "LICENSE-digits.txt").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in the wheel that this tree builds, and its entry points. Built without a network."""
    pytest.importorskip("flit_core", minversion="3.12")
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "minigrad", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    code = "from flit_core import buildapi; buildapi.build_wheel('.')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        return set(archive.namelist()), archive.read(entry_points).decode()


def test_the_wheel_holds_every_file_of_the_package_and_its_licenses(wheel):
    names, _ = wheel
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"minigrad/py.typed", "minigrad/data/digits.npz", "minigrad/data/LICENSE-digits.txt"} <= expected
    assert expected <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_nothing_but_the_package(wheel):
    names, _ = wheel
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"minigrad"}


def test_the_wheel_installs_the_command(wheel):
    _, entry_points = wheel
    assert re.search(r"^minigrad *= *minigrad\.cli:main$", entry_points, re.MULTILINE)


def test_run_time_dependencies_are_the_announced():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert names == {"numpy", "numba", "llvmlite", "matplotlib", "rich", "safetensors", "jinja2"}
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_readme_marks_its_commands_for_the_checks_to_run(name):
    text = (ROOT / "README.md").read_text()
    assert text.count(f"<!-- command: {name} -->\n```bash\n") == 1


def test_the_readmes_programs_run_in_order_and_learn(capsys, tmp_path, monkeypatch):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    monkeypatch.chdir(pictures)
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    for number, program in enumerate(programs):
        file = tmp_path / f"{number}.py"  # a rule is read from its source
        file.write_text(program)
        exec(compile(program, file, "exec"), names)
    assert names["loss"].item() < 1
    assert "pass 2: 28 bytes per float32 parameter" in capsys.readouterr().out
    assert {path.name for path in pictures.iterdir()} == {"heat_map.png", "update_ratios.png", "graph.svg"}


def test_the_readme_shows_the_rule_that_runs():
    body = (PACKAGE / "optim" / "adam.py").read_text().split("def scale_by_adam(")[1].split("\n\n")[0]
    for line in body.splitlines()[2:]:
        assert line in (ROOT / "README.md").read_text()
