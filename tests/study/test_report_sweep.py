"""The report of a sweep: what it says, that it is complete in itself, and what it refuses."""

import json
import shlex

import pytest
from report_tools import EVIL, TAGS, Page

from minigrad import cli, study
from minigrad.study.sweeps.sweep import Sweep


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "rates"
    study.sweep(
        ["SGD", "Adam"], lr=[1e-4, 0.01, 0.1, 1e6], seeds=5, data="blobs:samples=90", model="mlp:4", epochs=3,
        folder=folder,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def page(swept):
    return Page(study.report(swept).read_text())


def test_the_page_needs_nothing_but_itself(page, swept):
    text = (swept / "report.html").read_text()
    assert {tag for tag, _ in page.elements} <= TAGS
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.all("img"))
    assert all(link["href"].removeprefix("#") in page.sections for link in page.all("a"))
    assert "url(" not in text


def test_the_sections_are_those_that_the_sweep_has_something_for(page):
    assert list(page.sections) == ["result", "sensitivity", "curves", "target", "lost", "cells", "settings"]


def test_the_result_has_the_verdicts_the_table_and_the_command_of_the_best(page, swept):
    found = study.load_sweep(swept)
    selected = found.results.selected()
    text = page.sections["result"]
    for verdict in found.results.verdicts(selected):
        assert verdict in text
    for each in found.results.overview(selected)[1:]:
        assert each[0] in text
    assert shlex.join(found.command(found.best()["run"])) in text


def test_runs_that_diverged_are_counted_with_their_reasons(page, swept):
    diverged = [row for row in study.load_sweep(swept).table if row["status"] == "diverged"]
    assert len(diverged) >= 5
    counted = {}
    for row in diverged:
        counted.setdefault(row["reason"].partition(":")[0], []).append(row["reason"])
    _, *rows = page.tables["Runs by how they ended"]
    for status, reason, count in rows:
        assert status == "diverged"
        assert reason in counted[reason.partition(":")[0]]
        assert int(count) == len(counted.pop(reason.partition(":")[0]))
    assert not counted


def test_the_same_sweep_gives_the_same_bytes(swept, tmp_path):
    first = study.report(swept, tmp_path / "one.html").read_bytes()
    assert study.report(study.load_sweep(swept), tmp_path / "other.html").read_bytes() == first


def test_the_command_writes_the_page_and_prints_the_verdicts(swept, tmp_path, capsys):
    assert cli.main(["report", str(swept), "--output", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"wrote {tmp_path / 'page.html'}")
    results = study.load_sweep(swept).results
    assert results.verdicts()[0] in out
    (tmp_path / "mine.html").write_text("mine")
    assert cli.main(["report", str(swept), "--output", str(tmp_path / "mine.html")]) != 0
    assert "exists and is not a report" in capsys.readouterr().err


def test_few_seeds_are_said_to_be_few(tmp_path):
    found = study.sweep("SGD", lr=[0.01, 0.1], seeds=2, data="blobs:samples=60", model="mlp:4", epochs=1)
    page = Page(study.report(found, tmp_path / "page.html").read_text())
    assert "There are only 2 seeds" in page.sections["result"]
    assert "at an end of those that were tried" in page.sections["result"]


def test_without_anything_to_tune_there_is_no_sensitivity(tmp_path):
    found = study.sweep(["SGD", "Adam"], seeds=2, data="blobs:samples=60", model="mlp:4", epochs=1)
    page = Page(study.report(found, tmp_path / "page.html").read_text())
    assert "sensitivity" not in page.sections
    assert "Good region" not in page.sections["result"]


@pytest.mark.slow
def test_several_problems_make_profiles_and_two_numbers_a_heat_map(tmp_path):
    found = study.sweep(
        ["SGD", "Adam"], lr=[0.01, 0.1], weight_decay=[0.0, 0.01], seeds=2,
        data=["blobs:samples=60", "moons:samples=60"], model="mlp:4", epochs=2,
    )  # fmt: skip
    page = Page(study.report(found, tmp_path / "page.html").read_text())
    assert {"two", "profiles"} <= set(page.sections)
    for place in ("result", "sensitivity", "two", "curves", "target"):
        assert all(f" {name} " in page.sections[place] for name in ("blobs:samples=60", "moons:samples=60"))
    problems = found.results.problems()
    for results in problems.values():
        assert results.verdicts()[0] in page.sections["result"]
    assert "SGD, data" not in page.sections["result"]  # those of different data are not compared


def test_names_in_an_edited_folder_are_text(swept, tmp_path):
    """Whatever a hostile folder contains is shown as text, or refused."""
    store = study.load_sweep(swept)._store
    for place, cell in enumerate(store.cells):
        cell["optimizer"] = EVIL[place % 2]
    store.arguments = lambda number: {"optimizer": EVIL[0], "lr": 0.1, EVIL[1]: EVIL[2]}
    hostile = Sweep(store)
    hostile.command = lambda run: [EVIL[0], EVIL[1]]
    hostile.results.initial = None
    page = Page(study.report(hostile, tmp_path / "page.html").read_text())
    assert {tag for tag, _ in page.elements} <= TAGS
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_a_sweep_in_which_nothing_is_done_has_no_report(swept, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    for name in ("sweep.json", "runs.csv", "curves.csv"):
        (folder / name).write_text(
            "\n".join((swept / name).read_text().split("\n")[: None if name == "sweep.json" else 1]) + "\n"
        )
    assert json.loads((folder / "sweep.json").read_text())
    with pytest.raises(ValueError, match="report: nothing to draw: no run of the sweep is done"):
        study.report(folder)
