"""The README: its commands work when copied, and its marked ones are the ones that are run."""

import re
from pathlib import Path

from minigrad.cli import parser

README = (Path(__file__).parents[1] / "README.md").read_text()
ROOT = Path(__file__).parents[1]


def commands():
    """The lines of its bash blocks, in order, with the mark above a block."""
    for mark, block in re.findall(r"(?:<!-- command: (\w+) -->\n)?```bash\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            yield mark, line


def test_what_is_run_of_it_is_marked():
    assert [mark for mark, _ in commands() if mark] == ["train", "test"]


def test_a_command_is_found_once_the_environment_is_activated_or_names_it():
    activated = False
    for mark, line in commands():
        activated = activated or line == "source .venv/bin/activate"
        programs = [part.split()[0] for part in line.partition("#")[0].split("&&")]
        bare = [name for name in programs if name in ("minigrad", "pip", "python", "pytest")]
        assert activated or not bare, line
        assert not (mark and bare), line  # those are run in a shell that has not activated it
    assert activated


def test_its_commands_are_read_by_the_command():
    for _, line in commands():
        words = line.partition("#")[0].split()
        if words[0] == "minigrad":
            assert parser.parse(words[1:])["command"] in parser.COMMANDS


def test_nothing_is_installed_by_a_name_that_is_another_project_on_the_index():
    """Wherever it is said: in texts for users, in the README, in what the benchmarks print."""
    folders = [ROOT / name for name in ("minigrad", "examples", "benchmarks", "tests")]
    for path in [ROOT / "README.md", *(path for folder in folders for path in folder.rglob("*.py"))]:
        assert not re.search(r"pip install ['\"]?minigrad", path.read_text()), path
