"""Which modules import which: in one direction only, also inside of functions and for type checkers."""

import ast
import importlib
import inspect
import pkgutil
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import minigrad

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "minigrad"


def imports(module, source, is_package, known):
    """The modules among ``known`` that some source imports anywhere; the name of a class stands for its module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".") if is_package else module.split(".")[:-1]
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                full = f"{origin}.{alias.name}"
                found.add(full if full in known else origin)
    return (found & known) - {module}


def graph(sources):
    """For each module of some sources, given by its path from the package's parent, the modules that it imports."""
    modules = {}
    for path, source in sources.items():
        parts = path.removesuffix(".py").split("/")
        is_package = parts[-1] == "__init__"
        modules[".".join(parts[:-1] if is_package else parts)] = (source, is_package)
    found = {name: imports(name, *about, modules.keys()) for name, about in modules.items()}
    # The package's initializer imports these on first use; nothing may import the initializer, which has everything.
    assert not [name for name in found if PACKAGE in found[name]], "name the module in place of the package"
    return found


def rooms(modules):
    """The same for folders and loose modules: the part of a module's name after the package's."""
    found = {}
    for name, imported in modules.items():
        room = name.split(".")[1:2]
        if room:
            found.setdefault(room[0], set()).update(each.split(".")[1] for each in imported)
    return {room: imported - {room} for room, imported in found.items()}


@pytest.fixture(scope="module")
def sources():
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / PACKAGE).rglob("*.py")}


def test_modules_import_in_one_direction_only(sources):
    tuple(TopologicalSorter(graph(sources)).static_order())


def test_folders_import_in_one_direction_only(sources):
    tuple(TopologicalSorter(rooms(graph(sources))).static_order())


def test_the_readme_lists_each_folder_below_those_that_it_imports(sources):
    listed = re.findall(r"^  (\w+)/ ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {"ops", "nn", "optim", "training", "study", "cli"} <= set(listed)
    imported = rooms(graph(sources))
    for place, room in enumerate(listed):
        assert not imported[room] & set(listed[place + 1 :]), f"{room} imports a folder below it in the README"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("minigrad/optim/_groups.py", "if TYPE_CHECKING:\n    from .optimizer import Optimizer"),
        ("minigrad/optim/optimizer.py", "def explain():\n    from ..study.explanations._update import explain"),
        ("minigrad/nn/parameter.py", "from . import module"),
        ("minigrad/training/loop.py", "def report():\n    import minigrad.study"),
        ("minigrad/checks.py", "from . import optim"),
    ],
)
def test_a_cycle_is_found_wherever_it_is_closed(sources, path, line):
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(graph(sources | {path: f"{sources[path]}\n{line}\n"})).static_order())


@pytest.mark.parametrize("line", ["from .. import Tensor", "from .. import __version__", "import minigrad"])
def test_importing_the_whole_package_from_inside_is_found(sources, line):
    path = "minigrad/training/run.py"
    with pytest.raises(AssertionError, match="name the module"):
        graph(sources | {path: f"{sources[path]}\n{line}\n"})


def test_folders_that_import_each_other_without_a_cycle_of_modules_are_found(sources):
    path = "minigrad/clipping/clip.py"
    changed = graph(sources | {path: f"{sources[path]}\nfrom ..optim.common import negate\n"})
    tuple(TopologicalSorter(changed).static_order())
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(rooms(changed)).static_order())


def provided():
    """Every method whose code is provided by a module above its class, by its qualified name."""
    found = {}
    for info in pkgutil.walk_packages(minigrad.__path__, f"{PACKAGE}."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for kind in [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == info.name]:
            methods = {name: value for name, value in vars(kind).items() if hasattr(value, "provided_by")}
            found |= {f"{kind.__qualname__}.{name}": method for name, method in methods.items()}
    return found


def test_a_provided_method_has_the_parameters_and_the_result_of_its_code():
    methods = provided()
    assert methods.keys() >= {"Optimizer.explain", "Module.summary"}
    for name, method in methods.items():
        assert method.__doc__, name
        code = getattr(importlib.import_module(method.provided_by), method.__name__)
        declared, own = (inspect.signature(each) for each in (method, code))
        parameters = [
            [(p.name if i else "", p.kind, p.default, p.annotation if i else "") for i, p in enumerate(ps)]
            for ps in (declared.parameters.values(), own.parameters.values())
        ]
        assert parameters[0] == parameters[1], name
        assert declared.return_annotation == own.return_annotation, name
