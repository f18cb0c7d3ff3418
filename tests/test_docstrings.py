"""Docstrings: every public name has one, what can be called by a user has an example, and the examples are true."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad import clipping, data, nn, ops, optim, schedulers, study, training

PUBLIC = [minigrad, nn, nn.functional, nn.init, optim, schedulers, clipping, data, training, study]
MODULES = [
    "minigrad",
    *(m.name for m in pkgutil.walk_packages(minigrad.__path__, "minigrad.") if "__main__" not in m.name),
]
# What an example may use without importing it: the names that the README imports.
NAMES = {each.__name__.rpartition(".")[2]: each for each in PUBLIC} | {"np": np}


def names_of(module):
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return getattr(module, "__all__", [name for name in own if not name.startswith("_")])


def public(module):
    """Every public name that can be called, and the public methods and properties that a class defines itself."""
    for name in names_of(module):
        value = getattr(module, name)
        if not callable(value):
            continue
        yield name, value
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            is_member = inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
            if is_member and not attribute.startswith("_"):
                yield f"{name}.{attribute}", getattr(value, attribute)


def doc_of(value):
    """The docstring of a class itself; a method that overrides another may leave it to that one."""
    return value.__doc__ if inspect.isclass(value) else inspect.getdoc(value)


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_every_public_name_says_what_it_is(module):
    silent = [name for name, value in public(module) if not (doc_of(value) or "").strip()]
    assert not silent, f"no docstring: {', '.join(silent)}"


def test_primitives_say_what_they_compute():
    silent = [name for name, primitive in ops.PRIMITIVES.items() if not (primitive.__doc__ or "").strip()]
    assert not silent, f"primitive(..., doc=...) is missing: {', '.join(silent)}"


# --- examples --------------------------------------------------------------------------------------------------------

# Bases, results and readers of files, whose examples stand where they are made; and rules, which are no calls.
NO_EXAMPLE = {"Optimizer", "Chain", "Scheduler", "Schedule", "Function", "Clip", "ClipReport", "Module", "Parameter"}
NO_EXAMPLE |= {"Summary", "summary", "load_idx", "read_idx", "RuleError"}


def is_shown(value):
    return ">>>" in (inspect.getdoc(value) or "")


def is_primitive(value):
    """Whether a function is an entry of the op table, or made from one."""
    primitive = ops.PRIMITIVES.get(getattr(value, "__name__", ""))
    return isinstance(value, ops.Primitive) or (primitive is not None and value.__doc__ == primitive.__doc__)


@pytest.mark.parametrize("module", [optim, schedulers, clipping, data, nn, nn.functional], ids=lambda m: m.__name__)
def test_what_a_user_calls_is_shown_by_an_example(module):
    called = [name for name in names_of(module) if name not in NO_EXAMPLE and callable(getattr(module, name))]
    if module in (optim, nn):  # the rules and functions in them are parts of what has an example
        called = [name for name in called if inspect.isclass(getattr(module, name))]
    own = [name for name in called if not is_primitive(getattr(module, name))]
    silent = [name for name in own if not is_shown(getattr(module, name))]
    assert not silent, f"no example (>>>) in the docstring: {', '.join(silent)}"


class NumbersAgree(doctest.OutputChecker):
    """Numbers agree to four digits, the text around them exactly but for spaces: processors round the last digit."""

    number = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")

    def check_output(self, want, got, optionflags):
        if super().check_output(want, got, optionflags):
            return True
        texts = ["".join(self.number.sub("#", text).split()) for text in (want, got)]
        numbers = [np.array([float(found) for found in self.number.findall(text)]) for text in (want, got)]
        return texts[0] == texts[1] and np.allclose(*numbers, rtol=1e-4, atol=1e-6)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Where a reader copies an example to."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(NumbersAgree(), optionflags=doctest.ELLIPSIS)
    report = []
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name, globs={**vars(module), **NAMES}):
        minigrad.manual_seed(0)
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


def docstrings(module):
    """The docstrings of a module, of what is defined in it, and of the members of its classes."""
    yield module.__name__, module.__doc__
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") != module.__name__:
            continue
        yield f"{module.__name__}.{name}", value.__doc__
        for member, inner in vars(value).items() if inspect.isclass(value) else ():
            yield f"{module.__name__}.{name}.{member}", getattr(inner, "__doc__", None)


# Blocks that are formulas or pseudocode.
FORMULAS = {"minigrad.autograd.graph", "minigrad.schedulers.plateau.ReduceLROnPlateau"}


def blocks():
    """What is code in the literal blocks of docstrings, which ``::`` begins; in formulas are signs beyond ASCII."""
    for name in MODULES:
        for place, doc in docstrings(importlib.import_module(name)):
            for found in re.finditer(r"::\n\n((?: {4}.*\n|\n)+)", inspect.cleandoc(doc or "") + "\n"):
                if found[1].isascii() and place not in FORMULAS:
                    yield pytest.param(name, textwrap.dedent(found[1]), id=place)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(("module", "code"), list(blocks()))
def test_blocks_of_code_run_with_the_names_of_the_readme(module, code, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("minigrad.ops.primitive"), "PRIMITIVES", {}
    )  # an example of one has the name of one
    train = data.load_digits().subset(np.arange(64))
    loader = data.DataLoader(train, batch_size=32, shuffle=True, seed=0)
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    recorder = study.Recorder(model, optimizer, every=1)
    training.fit(model, optimizer, loader, epochs=1, callbacks=[recorder])
    for run in ("a-1", "b-1"):
        Path("runs", run).mkdir(parents=True)
        recorder.recording.save(f"runs/{run}/record.jsonl")
    x, y = next(iter(loader))
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    names = {"model": model, "optimizer": optimizer, "loader": loader, "x": x, "y": y, "loss": loss}
    names |= {"features": train.features, "recorder": recorder, "primitive": ops.primitive}
    exec(code, {**vars(importlib.import_module(module)), **vars(optim), **NAMES, **names})


def test_an_example_that_is_wrong_is_found():
    check = NumbersAgree().check_output
    assert check("tensor([0.1, 2. ])\n", "tensor([0.10000001, 2.])\n", 0)
    assert not check("tensor([0.1, 2. ])\n", "tensor([0.101, 2. ])\n", 0)
    assert not check("tensor([0.1, 2. ])\n", "array([0.1, 2. ])\n", 0)
    assert not check("(3, 2)\n", "(3,)\n", 0)
