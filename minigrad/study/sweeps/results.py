"""`Results`: the runs of a sweep, grouped by what is compared, and what the statistics say about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...checks import choice, spelled
from ...text import metric_title, plural
from . import statistics
from .statistics import CONFIDENCE, SEEDS_NEEDED, Difference, Estimate, Series, Width

Row = Mapping[str, Any]
METRICS = tuple(
    f"{part}_{kind}" for part in ("train", "validation", "held_out", "test") for kind in ("loss", "accuracy")
)
GOOD_LOSS, GOOD_ACCURACY = 0.1, 0.01  # how far from the best is good: a share of a loss, one point of accuracy


def is_accuracy(metric: str) -> bool:
    """Whether more of a metric is better."""
    return metric.endswith("accuracy")


@dataclass(frozen=True)
class Cell:
    """The runs of the same settings, with a seed each.

    Attributes:
        settings: the settings that vary in the sweep, by name.
        runs: the rows of the runs, by seed.
    """

    settings: Mapping[str, Any]
    runs: Mapping[int, Row]

    @property
    def diverged(self) -> float:
        """The share of its runs that diverged."""
        return _diverged(self.runs.values())


@dataclass(frozen=True)
class Selected:
    """The cell that a group of cells, such as those of an optimizer, is compared by, and how it was found.

    Attributes:
        label: what the group has in common, such as ``"Adam"``.
        cell: the cell with the best median of the validation metric.
        swept: the numeric setting that was tuned, ``"lr"`` or another one; empty if none was.
        best: its best value with an interval, from a bootstrap over seeds; ``None`` if none was tuned.
        at_edge: whether that value is an end of those that were tried, beyond which a better one may be.
        width: the decades around it that are good (`statistics.good_width`).
        sensitivity: to the rate (`statistics.sensitivity`); ``None`` if the loss before training is not known.
        train_loss, validation, test: medians over seeds with their bands.
        diverged: the share of diverged runs among all runs of the group.
    """

    label: str
    cell: Cell
    swept: str
    best: Estimate | None
    at_edge: bool
    width: Width | None
    sensitivity: Estimate | None
    train_loss: Estimate
    validation: Estimate
    test: Estimate
    diverged: float


class Results:
    """The runs of a sweep as tables of a cell and a seed.

    A diverged run counts as worse than any other; one that failed, or was stopped as hopeless, as not made. The seeds
    vary the initial parameters and the batches; the rows of the data are the same for all.

    Args:
        settings: the names of the options that may vary.
        table: a row for each run, with the columns of ``runs.csv``.
        curve: returns the rows of ``curves.csv`` of a run, given by its number.
        initial: returns the loss before training of a run, given by its number and ``"train"``, ``"validation"`` or
            ``"test"``; needed only for the sensitivity.
    """

    def __init__(
        self,
        settings: Sequence[str],
        table: Iterable[Row],
        curve: Callable[[int], Sequence[Mapping[str, float]]],
        initial: Callable[[int, str], float] | None = None,
    ) -> None:
        self.table, self.curve, self.initial = list(table), curve, initial
        self.varied = [name for name in settings if len({repr(row[name]) for row in self.table}) > 1]
        self.seeds = sorted({row["seed"] for row in self.table})
        self._found: dict[tuple[str, tuple[str, ...] | None], list[Selected]] = {}

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells in the order of the table."""
        found: dict[str, tuple[dict[str, Any], dict[int, Row]]] = {}
        for row in self.table:
            settings = {name: row[name] for name in self.varied}
            found.setdefault(repr(settings), (settings, {}))[1][row["seed"]] = row
        return [Cell(*each) for each in found.values()]

    # --- names -------------------------------------------------------------------------------------------------------

    @cached_property
    def metric(self) -> str:
        """The metric that cells are selected by: the validation accuracy, or else the loss."""
        return self.known_metric("")

    def known_metric(self, metric: str) -> str:
        """Return a metric of the sweep; an empty one is the one that cells are selected by.

        Raises:
            ValueError: for any other.
        """
        known = [name for name in METRICS if any(row.get(name) is not None for row in self.table)]
        by = [f"{part}_{kind}" for part in ("validation", "held_out") for kind in ("accuracy", "loss")]
        default = next((name for name in by if name in known), "train_loss")
        return choice("sweep", "metric", metric or default, known or METRICS)

    @cached_property
    def named(self) -> list[str]:
        """The varied settings that are not numbers, such as the optimizer, by which cells are compared."""
        return [name for name in self.varied if not all(_is_number(cell.settings[name]) for cell in self.cells)]

    @cached_property
    def numeric(self) -> list[str]:
        """The varied settings that are numbers and differ within what is compared, the learning rate first.

        A momentum that each optimizer has its own value of is not one of them.
        """
        groups: dict[str, list[Cell]] = {}
        for cell in self.cells:
            groups.setdefault(label(cell.settings, self.named), []).append(cell)
        names = [
            name
            for name in self.varied
            if name not in self.named
            and any(len({cell.settings[name] for cell in cells} - {None}) > 1 for cells in groups.values())
        ]
        return sorted(names, key=lambda name: name != "lr")

    def groups(self, by: Sequence[str] | None = None) -> dict[str, list[Cell]]:
        """Return the cells to compare, by what they have in common.

        Args:
            by: the settings that they have in common; by default all varied ones that are not numbers, such as the
                optimizer. The other settings are tuned.
        """
        names = self.named if by is None else by
        names = [name for name in self.varied if name in {spelled("setting", each, self.varied) for each in names}]
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            name = label(cell.settings, names) or str(self.table[0]["optimizer"])
            found.setdefault(name, []).append(cell)
        return found

    # --- values ------------------------------------------------------------------------------------------------------

    def values(self, cell: Cell, metric: str) -> Series:
        """Return a metric for each of `seeds`; NaN for a run that was not made, the worst infinity for a diverged one.

        Raises:
            ValueError: for a metric that the sweep does not have.
        """
        worst = -math.inf if is_accuracy(metric) else math.inf
        found = []
        for seed in self.seeds:
            row = cell.runs.get(seed)
            if row is None or row["status"] not in ("finished", "diverged"):
                found.append(math.nan)
            elif row["status"] == "diverged":
                found.append(worst)
            else:
                value = row.get(metric)
                found.append(math.nan if value is None else worst if math.isnan(value) else value)
        return np.array(found, np.float64)

    def _costs(self, cell: Cell, metric: str) -> Series:
        """The values, of which lower ones are better."""
        return -self.values(cell, metric) if is_accuracy(metric) else self.values(cell, metric)

    def swept(self, cells: Sequence[Cell]) -> str:
        """Return the first numeric setting that differs between cells; empty if there is none."""
        return next((name for name in self.numeric if len({cell.settings[name] for cell in cells} - {None}) > 1), "")

    def is_random(self, cells: Sequence[Cell]) -> bool:
        """Whether several numbers vary together, so that no two cells share a value, as in a random search."""
        varied = [{cell.settings[name] for cell in cells} - {None} for name in self.numeric]
        counts = [len(values) for values in varied if len(values) > 1]
        return len(counts) > 1 and len(cells) > 2 and max(counts) == len(cells)

    def profile(self, cells: Sequence[Cell], swept: str, metric: str) -> list[tuple[float, Cell]]:
        """Return the values of a numeric setting in order, each with the best of the cells that have it."""
        found: dict[float, Cell] = {}
        for cell in cells:
            if (at := cell.settings[swept]) is None:
                continue
            if at not in found or self._middle(cell, metric) < self._middle(found[at], metric):
                found[at] = cell
        return sorted(found.items(), key=lambda each: each[0])

    def _middle(self, cell: Cell, metric: str) -> float:
        median = float(statistics.medians(self._costs(cell, metric)))
        return math.inf if math.isnan(median) else median

    def reached(self, cell: Cell, target: float, metric: str, unit: str = "steps") -> Series:
        """Return the steps, epochs or seconds of training after which each run is within a target; infinite if never.

        They are counted to the end of the first such epoch. Epochs are taken to last equally long.
        """
        choice("sweep", "unit", unit, ("steps", "epochs", "seconds"))
        found = []
        for seed in self.seeds:
            row = cell.runs.get(seed)
            if row is None or row["status"] not in ("finished", "diverged"):
                found.append(math.nan)
                continue
            sign = -1 if is_accuracy(metric) else 1
            curve = [sign * each.get(metric, math.nan) for each in self.curve(row["run"])]
            epoch = statistics.first_within(curve, sign * target)
            found.append(epoch * (row[unit] / row["epochs"]) if math.isfinite(epoch) else epoch)
        return np.array(found, np.float64)

    # --- conclusions -------------------------------------------------------------------------------------------------

    def summary(self, metric: str = "", confidence: float = CONFIDENCE) -> list[dict[str, Any]]:
        """Return a row for each cell: settings, runs, share that diverged, median over seeds and its band."""
        metric = self.known_metric(metric)
        rows = []
        for cell in self.cells:
            median, low, high = statistics.median_band(self.values(cell, metric), confidence)
            numbers = {"runs": len(cell.runs), "diverged": cell.diverged, "median": median, "low": low, "high": high}
            rows.append({**cell.settings, **numbers})
        return rows

    def selected(self, metric: str = "", by: Sequence[str] | None = None) -> list[Selected]:
        """Return the best cell of each group by the median of a metric, the best first; see `Selected`.

        Select by a validation metric: the test metrics of the selected cells are then not biased by the selection.
        """
        metric = self.known_metric(metric)
        key = metric, None if by is None else tuple(by)
        if key not in self._found:
            found = [self._selected(name, cells, metric) for name, cells in self.groups(by).items()]
            self._found[key] = sorted(found, key=lambda each: self._middle(each.cell, metric))
        return list(self._found[key])

    def _selected(self, name: str, cells: Sequence[Cell], metric: str) -> Selected:
        cell = min(cells, key=lambda each: self._middle(each, metric))
        swept = self.swept(cells)
        best, width, excess, at_edge = None, None, None, False
        if swept:
            points = self.profile(cells, swept, metric)
            at = np.array([value for value, _ in points])
            costs = np.array([self._costs(each, metric) for _, each in points])
            if (places := statistics.best_place(costs)) is not None:
                best = Estimate(*(float(at[place]) for place in places))
                at_edge = places[0] in (0, len(at) - 1)
                cell = points[places[0]][1]
            is_curve = not self.is_random(cells)
            if at[0] > 0 and is_curve:
                good = GOOD_ACCURACY if is_accuracy(metric) else GOOD_LOSS
                width = statistics.good_width(at, costs, good, relative=not is_accuracy(metric))
            excess = self._sensitivity(cells, swept, metric.split("_")[0]) if is_curve else None
        kind = metric.split("_")[-1]
        has_test = any(row.get(f"test_{kind}") is not None for row in self.table)
        return Selected(
            label=name,
            cell=cell,
            swept=swept,
            best=best,
            at_edge=at_edge,
            width=width,
            sensitivity=excess,
            train_loss=statistics.median_band(self.values(cell, "train_loss")),
            validation=statistics.median_band(self.values(cell, metric)),
            test=statistics.median_band(self.values(cell, f"test_{kind}" if has_test else metric)),
            diverged=_diverged(row for each in cells for row in each.runs.values()),
        )

    def _sensitivity(self, cells: Sequence[Cell], swept: str, part: str) -> Estimate | None:
        metric = f"{part}_loss"
        if self.initial is None or swept != "lr":
            return None
        runs = [row["run"] for row in cells[0].runs.values()]
        initial = float(np.median([self.initial(run, part) for run in runs]))
        costs = np.array([self._costs(cell, metric) for _, cell in self.profile(cells, swept, metric)])
        return statistics.sensitivity(costs, initial)

    def common_target(self, selected: Sequence[Selected], metric: str = "") -> float:
        """Return the value of a validation metric that each selected cell reaches with half of its seeds or more.

        Cells that diverge with half of their seeds do not count.
        """
        metric = self.known_metric(metric)
        medians = [float(statistics.medians(self.values(each.cell, metric))) for each in selected]
        finite = [each for each in medians if math.isfinite(each)]
        return (min if is_accuracy(metric) else max)(finite) if finite else math.nan

    def split(self, setting: str) -> dict[str, Results]:
        """Return the results for each value of a setting, such as the data, of which each is a problem of its own."""
        setting = spelled("setting", setting, self.varied)
        parts: dict[str, list[Row]] = {}
        for row in self.table:
            parts.setdefault(str(row[setting]), []).append(row)
        names = [name for name in self.varied if name != setting]
        return {value: Results(names, rows, self.curve, self.initial) for value, rows in parts.items()}

    def problems(self) -> dict[str, Results]:
        """Return the results for each dataset, since those of different data cannot be compared; one if it is the same.

        The name of a single problem is empty.
        """
        return self.split("data") if "data" in self.varied else {"": self}

    def differences(
        self, selected: Sequence[Selected], metric: str = "", confidence: float = CONFIDENCE
    ) -> list[Difference]:
        """Return how each of the others differs from the first, over shared seeds; below 0 is lower."""
        metric = self.known_metric(metric)
        first = self.values(selected[0].cell, metric)
        return [
            statistics.paired_difference(self.values(each.cell, metric), first, confidence) for each in selected[1:]
        ]

    def verdicts(self, selected: Sequence[Selected] | None = None, metric: str = "") -> list[str]:
        """Return sentences about which of the selected cells differ from the best one, by a metric of test rows."""
        selected = self.selected() if selected is None else selected
        if len(selected) < 2:
            return []
        metric = self.known_metric(metric or self.final_metric)
        first, found = selected[0].label, self.differences(selected, metric)
        alike = [each.label for each, difference in zip(selected[1:], found, strict=True) if not difference.is_apart]
        fewest = min(each.seeds for each in found)
        seeds = plural(fewest, "seed")
        sentences = []
        if alike:
            everyone = [first, *alike]
            names = f"{', '.join(everyone[:-1])} and {everyone[-1]}"
            whether = "the 90% interval of each difference from the first" if len(alike) > 1 else "the 90% interval"
            reason = f"{whether} in {metric_title(metric)} includes 0"
            if fewest < SEEDS_NEEDED:
                reason = f"no difference can, with fewer than {SEEDS_NEEDED}"
            sentences.append(f"{names} cannot be told apart with {seeds}: {reason}")
        for each, difference in zip(selected[1:], found, strict=True):
            if difference.is_apart:
                sentences.append(f"{each.label} {_differs(difference, metric)} than {first}")
        if len(alike) < len(found) and len(found) > 1:
            sentences.append(
                f"each interval is one of 90%: of {len(found)} comparisons, {len(found) / 10:.2g} are expected to "
                "differ by chance alone"
            )
        return sentences

    def overview(
        self, selected: Sequence[Selected] | None = None, number: Callable[[float], str] = "{:.3g}".format
    ) -> list[list[str]]:
        """Return a table of the selected cells as texts, titles first: their settings, medians with bands, divergence.

        Columns that would be empty are left out.
        """
        selected = self.selected() if selected is None else selected
        swept = next((each.swept for each in selected if each.swept), "")
        columns = {"name": [each.label for each in selected]}
        if swept:
            columns[f"best {swept}"] = [
                "" if each.best is None else text_of("", each.best, number) for each in selected
            ]
        for name in self.numeric:
            if name != swept:
                columns[name] = ["" if (at := each.cell.settings[name]) is None else number(at) for each in selected]
        columns["training loss"] = [text_of("train_loss", each.train_loss, number) for each in selected]
        if self.metric != "train_loss":
            columns[metric_title(self.metric)] = [text_of(self.metric, each.validation, number) for each in selected]
        if self.final_metric != self.metric:
            columns[metric_title(self.final_metric)] = [
                text_of(self.final_metric, each.test, number) for each in selected
            ]
        if any(each.diverged for each in selected):
            columns["diverged"] = [f"{each.diverged:.0%}" if each.diverged > 0 else "" for each in selected]
        return [list(columns), *map(list, zip(*columns.values(), strict=True))]

    @cached_property
    def final_metric(self) -> str:
        """The metric that the selected cells are compared by: the same kind as `metric`, of the test rows if any."""
        kind = self.metric.split("_")[-1]
        has_test = any(row.get(f"test_{kind}") is not None for row in self.table)
        return f"test_{kind}" if has_test else self.metric


def costs(
    problems: Mapping[str, Results],
    targets: Mapping[str, float] | None = None,
    *,
    metric: str = "",
    unit: str = "steps",
    by: Sequence[str] | None = None,
) -> dict[str, dict[str, float]]:
    """Return for each problem how long each selected cell trains until a target: the median over seeds.

    A cell that does not reach the target with half of its seeds or more costs infinitely much (AlgoPerf,
    https://arxiv.org/abs/2306.07179). `minigrad.study.plots.performance_profiles` draws the result.

    Args:
        problems: the results of a sweep on each problem, by name; see also `Results.split`.
        targets: a value of the metric for each problem; by default `Results.common_target`, which all selected cells
            reach.
        metric: by default the one that cells are selected by.
        unit: ``"steps"``, ``"epochs"`` or ``"seconds"``.
        by: as in `Results.groups`.
    """
    found = {}
    for name, results in problems.items():
        measured = results.known_metric(metric)
        selected = results.selected(measured, by)
        target = results.common_target(selected, measured) if targets is None else targets[name]
        times = {each.label: results.reached(each.cell, target, measured, unit) for each in selected}
        found[name] = {method: float(statistics.medians(time)) for method, time in times.items()}
    return found


def label(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the values of these settings as one text: an optimizer by its name, others with theirs.

    >>> label({"optimizer": "Adam", "batch_size": 64, "clip": None}, ["optimizer", "batch_size", "clip"])
    'Adam, batch_size 64, no clip'
    """
    parts = []
    for name in names:
        value = settings[name]
        parts.append(
            str(value) if name == "optimizer" else f"no {name}" if value is None else f"{name} {_short(value)}"
        )
    return ", ".join(parts)


def _diverged(rows: Iterable[Row]) -> float:
    """The share of diverged runs; those that failed or were not made do not count."""
    counted = [row["status"] for row in rows if row["status"] in ("finished", "diverged")]
    return counted.count("diverged") / len(counted) if counted else math.nan


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _differs(difference: Difference, metric: str) -> str:
    """By how much one is higher or lower, with the interval."""
    title, side = metric_title(metric), "higher" if difference.value > 0 else "lower"
    if not math.isfinite(difference.value):
        return f"has a {side} {title} or diverges, seed by seed,"
    scale, unit = (100, " points") if is_accuracy(metric) else (1, "")
    size, *ends = (f"{scale * abs(each):.2g}" for each in (difference.value, difference.low, difference.high))
    low, high = sorted(ends, key=float)
    return f"has a {title} {size}{unit} {side} ({low} to {high}{unit})"


def text_of(metric: str, estimate: Estimate, number: Callable[[float], str] = "{:.3g}".format) -> str:
    """Return a median and its band as text, accuracies in percent.

    >>> text_of("test_accuracy", Estimate(0.9512, 0.94, 0.963)), text_of("lr", Estimate(0.1, 0.1, 0.1))
    ('95.1% (94.0 to 96.3)', '0.1')
    """
    if math.isnan(estimate.value):
        return ""
    percent = is_accuracy(metric)
    value, low, high = (
        "diverged" if math.isinf(each) else f"{100 * each:.1f}" if percent else number(each) for each in estimate
    )
    value += "%" * (percent and value != "diverged")
    return value if estimate.low == estimate.high else f"{value} ({low} to {high})"
