"""The benchmarks: statistics and files are right, every group runs without peers, the README's figures are theirs.

Nothing here asks how fast anything is.
"""

import errno
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # the benchmarks are not installed

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import compiled, effort, peers, plots, processes, readme, report, suite, timing  # noqa: E402
from benchmarks.optimizers_on_digits import Outcome, Protocol, _order, _row, tune  # noqa: E402
from benchmarks.timing import Contender, Measure, Times  # noqa: E402
from benchmarks.training_step import random_data  # noqa: E402

CONDITIONS = {
    "group": "training_step",
    "title": "Training",
    "command": "python -m benchmarks --only training_step",
    "started": "2026-01-01 00:00 UTC",
    "effort": "full",
    "machine": {"processor": "P", "cores for this process": 2},
    "versions": {"python": "3"},
    "threads": {"minigrad": "up to 2"},
    "skipped": ["PyTorch"],
    "load": [0.5, 1.0],
}


# Statistics


def test_a_measure_is_the_median_and_the_quartiles_that_numpy_gives():
    values = list(np.random.default_rng(0).exponential(size=31))
    found = Measure.of(values, 1e6)
    expected = np.quantile(values, [0.5, 0.25, 0.75]) * 1e6
    assert np.allclose([found.median, found.q1, found.q3], expected, rtol=1e-14)
    assert found.count == 31
    assert Measure.of([3.0], 2.0) == Measure(6.0, 6.0, 6.0, 1)
    with pytest.raises(ValueError, match="at least one value"):
        Measure.of([])


def test_a_ratio_pairs_neighboring_bursts():
    # Both become ten times slower in the second burst: every pair says two, the ratio of means would not.
    slow, fast = Times([[2.0, 2.0], [20.0], [4.0]]), Times([[1.0], [10.0, 10.0, 10.0], [2.0]])
    assert timing.ratio(slow, fast) == Measure(2.0, 2.0, 2.0, 3)
    assert timing.ratio(slow, fast, 0.5).median == 1.0
    with pytest.raises(ValueError, match="zip"):
        timing.ratio(slow, Times([[1.0]]))


def test_contenders_take_turns_and_are_set_up_before_each_of_their_bursts():
    seen = []
    contenders = {
        name: Contender(lambda name=name: seen.append(name), before=lambda name=name: seen.append(f"set up {name}"))
        for name in "ab"
    }
    times = timing.interleaved(contenders, 0.0)
    turns = "".join(name[-1] for name in seen if name.startswith("set up"))
    # The warm-up, then every round: each once, and nobody always behind the same one.
    assert turns == "ab" + "ab" + "ba" + "ba" + "ab" + "ab"
    assert timing.FEWEST_BURSTS == 5
    assert {len(each.bursts) for each in times.values()} == {timing.FEWEST_BURSTS}
    # Two calls of warm-up, and one before each burst, are not timed.
    counted = sum(len(burst) for burst in times["a"].bursts)
    assert seen.count("a") == counted + 2 + timing.FEWEST_BURSTS


def test_times_are_per_unit_of_work(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))
    assert timing._burst(lambda: None, 3, units=4) == [0.25, 0.25, 0.25]


def test_the_fastest_setting_of_each_side_is_compared():
    times = {
        "minigrad, 1 thread": Times([[4.0], [4.0]]),
        "minigrad, 2 threads": Times([[2.0], [2.0]]),
        "PyTorch fused, 1 thread": Times([[6.0], [8.0]]),
        "PyTorch foreach, 1 thread": Times([[9.0], [9.0]]),
    }
    row = peers.mine(times) | peers.versus(times, "PyTorch")
    assert row["minigrad's fastest"] == "2 threads"
    assert row["PyTorch's fastest"] == "fused, 1 thread"
    assert row["times faster than PyTorch"] == Measure.of([3.0, 4.0])
    assert peers.versus(times, "optax") == {}


def test_the_shortest_calls_are_compared_too():
    times = {
        "compiled call, 1 BLAS thread": Times([[4e-6, 9e-6], [5e-6]]),
        "compiled call, 2 BLAS threads": Times([[6e-6], [2e-6]]),
        "compiled epoch": Times([[1e-6], [3e-6]]),
        "jax.jit, by tensor": Times([[9e-6], [8e-6]]),
        "jax.jit, flattened": Times([[5e-6], [7e-6]]),
    }
    row = compiled.best(times)
    assert row["compiled call (µs)"] == pytest.approx(2.0)
    assert row["jax.jit (µs)"] == pytest.approx(5.0)
    assert row["compiled call, times faster than jax.jit"] == pytest.approx(2.5)
    assert not any("lax.scan" in column or "PyTorch" in column for column in row)


def test_the_steps_that_are_called_compiled_are_compiled(monkeypatch):
    sizes, batch = (4, 3, 2), 4
    features, labels = map(minigrad.Tensor, random_data(sizes, batch))
    assert compiled.compiled(sizes, features, labels).ready(batch, 2) is not None
    monkeypatch.setattr("minigrad.compiled.machine.problem", lambda: "no compiler")
    with pytest.raises(RuntimeError, match="was not compiled: no compiler"):
        compiled.compiled(sizes, features, labels)


# Tables and files


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (0.999, "0.999"),
        (1.0, "1.00"),
        (9.996, "10.0"),
        (12.345, "12.3"),
        (99.96, "100"),
        (999.6, "1,000"),
        (12345.0, "12,300"),
        (-2.5, "-2.50"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_has_three_digits(value, text):
    assert report.number(value) == text


def test_markdown_has_a_column_for_every_name_and_quartiles_in_brackets():
    rows = [{"who": "a|b", "µs": Measure(2.0, 1.0, 3.0, 9)}, {"who": "c", "n": 12000, "µs": Measure(5.0, 5.0, 5.0, 1)}]
    assert report.markdown(rows).splitlines() == [
        "| who | µs | n |",
        "|---|---:|---:|",
        "| a\\|b | 2.00 (1.00 to 3.00) |  |",
        "| c | 5.00 | 12,000 |",
    ]


def test_results_come_back_from_their_file_as_they_were(tmp_path):
    table = report.Table("t", "T", [{"x": Measure(2.0, 1.0, 3.0, 9), "y": None, "z": "text", "n": 3}], "note")
    report.write(CONDITIONS, [table], tmp_path)
    found = report.read(tmp_path / "training_step.json")
    assert report.rows_of(found, "t") == list(table.rows)
    assert {name: found[name] for name in CONDITIONS} == CONDITIONS
    assert report.read_all(tmp_path, ["step_by_size", "training_step"]) == [found]
    page = report.page([found])
    assert "| 2.00 (1.00 to 3.00) |  | text | 3 |" in page
    assert "Not installed, so not compared: PyTorch." in page


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\x00", '{"group": 1}'])
def test_a_file_that_holds_no_results_is_named(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"x\.json"):
        report.read(path)


def test_a_value_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        report.write(CONDITIONS, [report.Table("t", "T", [{"x": float("nan")}])], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_results_from_before(tmp_path, monkeypatch):
    path = report.write(CONDITIONS, [report.Table("t", "T", [{"x": 1}])], tmp_path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("minigrad.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        report.write(CONDITIONS, [report.Table("t", "T", [{"x": 2}])], tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Groups


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setattr(peers, "has", lambda peer: False)
    monkeypatch.setattr(peers, "blas", lambda: None)


@pytest.mark.slow
@pytest.mark.parametrize("name", suite.GROUPS)
def test_every_group_runs_without_peers_and_its_results_are_written_and_drawn(name, no_peers, tmp_path):
    said = io.StringIO()
    failed = suite.run([name], effort.TINY, "python -m benchmarks", tmp_path, lambda text: said.write(text + "\n"))
    assert failed == [], said.getvalue()
    result = report.read(tmp_path / f"{name}.json")
    assert result["skipped"] == ["PyTorch", "JAX with optax"]
    assert all(table["rows"] for table in result["tables"])
    names = [table["name"] for table in result["tables"]]
    assert len(set(names)) == len(names)
    assert f"## {suite.group(name).TITLE}" in (tmp_path / report.PAGE).read_text()
    if name in plots._PAINTERS:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_group_that_fails_is_named_and_the_others_still_run(monkeypatch, tmp_path, no_peers):
    def fail(chosen):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(suite.group("clip_step"), "measure", fail)
    said = []
    failed = suite.run(["clip_step", "fit_overhead"], effort.TINY, "c", tmp_path, said.append)
    assert failed == ["clip_step"]
    assert "broken on purpose" in "".join(said)
    assert [path.name for path in tmp_path.glob("*.json")] == ["fit_overhead.json"]


@pytest.mark.parametrize("package", ["torch", "jax"])
def test_a_library_is_only_imported_where_it_takes_part(package):
    code = "import sys, json\nfrom benchmarks import suite\n[suite.group(n) for n in suite.GROUPS]\n"
    assert processes.run(code + f"print(json.dumps({{'there': {package!r} in sys.modules}}))") == {"there": False}


def test_a_program_that_fails_shows_why():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        processes.run("1 / 0")


def test_wrong_arguments_are_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--only", "steps"])
    assert stopped.value.code == 2
    assert "unknown group 'steps'; known are step_by_size, " in capsys.readouterr().err
    assert command.main(["--redraw", "--output", str(tmp_path)]) == 1
    assert "holds no results to draw" in capsys.readouterr().err


# Optimizers on the digits


def test_tuning_takes_the_rate_with_the_fewest_steps_and_grows_the_grid_towards_it(monkeypatch):
    def race(name, rate, seed, epochs, problem):
        steps = int(15 * (1 + abs(np.log2(rate / 1.6))))  # best at 1.6, three doublings of the preset 0.2
        return Outcome({0.96: (steps, 0.1), 0.97: (steps, 0.1)}, 0.98)

    monkeypatch.setattr("benchmarks.optimizers_on_digits.race", race)
    problem = type("Problem", (), {"train": range(1437)})()
    rate, tried = tune("SGD", Protocol(("SGD",), (0.5, 1.0), (1,), (0,), 30, growth=4), problem)
    assert rate == pytest.approx(1.6)
    assert [row["rate"] for row in tried] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2])


def test_a_row_counts_who_reached_the_target_and_lucky_ones_do_not_come_first():
    there, not_there = Outcome({0.96: (15, 0.1), 0.97: (30, 0.2)}, 0.97), Outcome({0.96: (45, 0.3)}, 0.965)
    lucky, steady = _row("A", 0.1, [there, not_there, not_there]), _row("B", 0.1, [there, there, not_there])
    assert lucky["reached 97%"] == "1 of 3"
    assert lucky["steps to 97%"] == Measure(30, 30, 30, 1)
    assert lucky["steps to 96%"].median == 45
    assert sorted([lucky, steady], key=_order) == [steady, lucky]


# The README


def test_the_figures_in_the_readme_are_those_of_the_committed_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == readme.replaced(text, readme.speed(suite.RESULTS)), "run python -m benchmarks.readme"


def test_another_figure_in_the_results_or_in_the_readme_is_noticed(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in suite.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = json.loads((tmp_path / "step_by_size.json").read_text())
    content["tables"][0]["rows"][0]["minigrad (µs)"]["median"] *= 1.1
    (tmp_path / "step_by_size.json").write_text(json.dumps(content))
    assert readme.replaced(text, readme.speed(tmp_path)) != text
    (tmp_path / "step_by_size.json").unlink()
    with pytest.raises(ValueError, match="python -m benchmarks --only step_by_size"):
        readme.speed(tmp_path)


def test_the_readme_shows_what_is_measured_of_compiled_steps(tmp_path):
    for path in suite.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def of(value):
        return Measure.of([value])

    model = {"model": "3-2", "batch": 4}
    call = {"compiled call (µs)": of(11.0), "jax.jit (µs)": of(31.0), "times faster than jax.jit": of(2.8)}
    epoch = {"compiled epoch (µs)": of(7.0), "PyTorch (µs)": of(91.0), "times faster than PyTorch": of(13.0)}
    starts = [
        {"steps": steps, "cache": cache, "second step (s)": of(0.12), "to the first step (s)": of(0.91)}
        for steps in ("eager", "compiled")
        for cache in ("empty", "filled")
    ]
    trained = [
        {"steps": steps, "files": files, "epochs": 30, "training again (s)": of(0.14)}
        for steps in ("eager", "compiled")
        for files in ("none (--no-output)", "a run folder")
    ]
    tables = {"calls": [model | call], "epochs": [model | epoch], "starts": starts, "commands": trained}
    conditions = CONDITIONS | {"group": "compiled", "command": "python -m benchmarks --only compiled"}
    report.write(conditions, [report.Table(name, name, rows) for name, rows in tables.items()], tmp_path)
    text = readme.speed(tmp_path)
    rows = [line for line in text.splitlines() if "MLP 3-2" in line]
    assert rows == [
        "| compiled training step with Adam, MLP 3-2, batch 4 | 11.0 | not installed | not installed | 31.0 | 2.80 |",
        "| compiled epoch with Adam, per step, MLP 3-2, batch 4 | 7.00 | 91.0 | 13.0 | not installed | not installed |",
    ]
    assert "`python -m benchmarks --only compiled`" in text
    assert "takes 0.140 s for 30 epochs" in " ".join(text.split())


def test_the_page_of_results_is_made_of_the_files_beside_it():
    results = report.read_all(suite.RESULTS, suite.GROUPS)
    for result in results:
        if (suite.RESULTS / f"{result['group']}.png").exists():
            result["picture"] = f"{result['group']}.png"
    assert (suite.RESULTS / report.PAGE).read_text(encoding="utf-8") == report.page(results)


def test_the_readme_needs_its_marks():
    with pytest.raises(ValueError, match="once each"):
        readme.replaced("no marks", "new")
