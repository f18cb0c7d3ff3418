"""Pictures of sweeps: sensitivity to a setting, two settings, time to a target, profiles, and curves with bands."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...text import metric_text, metric_title, plural
from ..sweeps.results import Cell, Results, Selected, is_accuracy
from ..sweeps.statistics import Series, best_place, median_band, medians, performance_profile
from ..sweeps.sweep import Sweep, load_sweep
from ._labels import label_ends, note, tidy
from .style import QUIET, canvas, finish, font, log_scale, look, picture_format, plain, steps_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]
Source = Sweep | Results | Path
_BAND: dict[str, Any] = {"alpha": 0.16, "linewidth": 0}
_STRIP = 0.032  # of the height of the axes, for the share of diverged runs of one line
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Where an axis of accuracies has ticks.
_ACCURACIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999)
NAMES = {"lr": "learning rate"}


def setting_title(name: str) -> str:
    """The name of a setting as an axis has it."""
    return NAMES.get(name, name.replace("_", " "))


def results_of(plot: str, source: Source) -> Results:
    """The results of a sweep, given by the sweep, its results or its folder.

    Raises:
        TypeError: for anything else.
        FileNotFoundError, ValueError: if the folder is not that of a sweep, or nothing has been run.
    """
    if isinstance(source, str | os.PathLike):
        source = load_sweep(source)
    found = source.results if isinstance(source, Sweep) else source
    if not isinstance(found, Results):
        raise TypeError(f"{plot}: needs a sweep or its folder, not {type(source).__name__}")
    if not found.table:
        raise ValueError(f"{plot}: nothing to draw: no run of the sweep is done")
    return found


# --- one setting -----------------------------------------------------------------------------------------------------


def sensitivity(
    sweep: Source,
    metric: str = "",
    *,
    by: Sequence[str] | None = None,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Figure:
    """How does the end of training depend on the learning rate, and where does it diverge?

    Medians over seeds with their 90 % bands, the share of diverged runs along the top, and for each line a large dot at
    the best value with the interval of it. If other numeric settings vary too, they are at their best for each value.
    In a random search, each cell is a dot.

    Args:
        sweep: a sweep, its folder, or `minigrad.study.Sweep.results`.
        metric: such as ``"validation_accuracy"``; by default a panel for the training loss and one for the metric that
            cells are selected by, unless ``ax`` is given, which gets the latter.
        by: the settings that make a line; by default those that are not numbers, such as the optimizer.
        ax, path: as in `update_ratios`.

    Raises:
        ValueError: for an unknown metric or setting, or if no numeric setting varies.
    """
    results = results_of("sensitivity", sweep)
    return _panels(lambda panel, each: _sensitivity(panel, results, each, by), results, metric, ax, path)


def _panels(draw: Any, results: Results, metric: str, ax: Axes | None, path: Path | None) -> Figure:
    """Draw one metric, or the training loss and the metric that cells are selected by."""
    chosen = results.known_metric(metric)
    if ax is not None or metric or chosen == "train_loss":
        figure, ax = canvas(ax, 6.0, 4.2, path=path)
        draw(ax, chosen)
        return finish(figure, path)
    from matplotlib.figure import Figure

    if path is not None:
        picture_format(path)
    figure = Figure(figsize=(9.8, 4.1), layout="constrained")
    for panel, each in zip(figure.subplots(1, 2), ("train_loss", chosen), strict=True):
        draw(panel, each)
    return finish(figure, path)


def _sensitivity(ax: Axes, results: Results, metric: str, by: Sequence[str] | None) -> None:
    groups = results.groups(by)
    swept = results.swept(results.cells)
    if not swept:
        raise ValueError("sensitivity: no numeric setting varies in the sweep")
    tidy(ax, f"{_capital(metric)} at the end", setting_title(swept), _unit(metric))
    lines = []
    for number, (name, cells) in enumerate(groups.items()):
        points = results.profile(cells, swept, metric)
        if points:
            lines.append((number, name, [each for _, each in points], np.array([float(at) for at, _ in points])))
    bands = [np.array([median_band(results.values(cell, metric)) for cell in cells]) for _, _, cells, _ in lines]
    everywhere = np.concatenate([at for *_, at in lines])
    if everywhere.min() > 0:
        ax.set_xscale("log")
        from matplotlib.ticker import FuncFormatter, NullFormatter

        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value, everywhere.min())))
        ax.xaxis.set_minor_formatter(NullFormatter())
    left, right = _around(np.unique(everywhere))
    ax.set_xlim(left[0], right[-1])
    shares = [(number, at, [cell.diverged for cell in cells]) for number, _, cells, at in lines]
    shares = [each for each in shares if np.nanmax(each[2]) > 0]
    low, high = _vertical(ax, metric, np.concatenate(bands)[:, 0], len(shares))
    for (number, name, cells, at), band in zip(lines, bands, strict=True):
        color = look(number)["color"]
        known = np.isfinite(band[:, 0])
        shown = np.clip(np.where(known[:, None], band, np.nan), low, high)
        if results.is_random(groups[name]):  # neighbors differ in other settings, too
            ax.plot(at, shown[:, 0], "o", color=color, markersize=4, label=name)
            ax.vlines(at, *shown[:, 1:].T, color=color, alpha=0.4, linewidth=1.2)
        else:
            ax.plot(at, shown[:, 0], **look(number), linewidth=1.7, marker="o", markersize=3, label=name)
            ax.fill_between(at, *shown[:, 1:].T, color=color, **_BAND)
        _best(ax, results, cells, at, metric, color, (low, high))
    if len(lines) > 1:
        ends = [(name, at, band[:, 0]) for (_, name, _, at), band in zip(lines, bands, strict=True)]
        label_ends(ax, [(*end, look(number)["color"]) for (number, *_), end in zip(lines, ends, strict=True)])
    _strip(ax, shares)


def _power(value: float, least: float) -> str:
    """A power of ten as text; a formula, as Matplotlib writes it, takes much longer to draw."""
    return f"{value:g}" if least >= 1e-3 else f"10{str(round(math.log10(value))).translate(_RAISED)}"


def _best(
    ax: Axes, results: Results, cells: Sequence[Cell], at: Series, metric: str, color: Any, limits: tuple[float, float]
) -> None:
    sign = -1 if is_accuracy(metric) else 1
    costs = np.array([sign * results.values(cell, metric) for cell in cells])
    if len(cells) < 2 or (found := best_place(costs)) is None:
        return
    place, low, high = found
    y = np.clip(medians(costs[place]) * sign, *limits)
    ax.plot(at[[low, high]], [y, y], color=color, linewidth=2.6, alpha=0.55, solid_capstyle="butt", zorder=3)
    ax.plot(at[place], y, "o", color=color, markersize=7, markeredgecolor="white", markeredgewidth=1, zorder=4)


def _vertical(ax: Axes, metric: str, values: Series, strips: int) -> tuple[float, float]:
    """Set the vertical axis, with space at the top for the shares of diverged runs; return the limits of the data."""
    finite = values[np.isfinite(values)]
    if is_accuracy(metric) and finite.size:
        _accuracy_scale(ax, finite)
    elif finite.size:
        log_scale(ax, finite)
    low, high = ax.get_ylim()
    if strips:
        part = strips * _STRIP + 0.05
        scale = ax.yaxis.get_transform()
        bottom, top = scale.transform(np.array([low, high]))
        above = scale.inverted().transform(np.array([top + (top - bottom) * part / (1 - part)]))[0]
        for minor in (False, True):  # no ticks beside the shares
            ax.set_yticks([tick for tick in ax.get_yticks(minor=minor) if low <= tick <= high], minor=minor)
        ax.set_ylim(low, above)
        ax.spines["left"].set_bounds(low, high)
    return low, high


def _accuracy_scale(ax: Axes, values: Series) -> None:
    """A scale on which 98 and 99 % are as far apart as 1 and 2 %; linear if the values are close to each other.

    On it, 0 and 100 % would be infinitely far away, so they are at the ends of the axis.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    inner = values[(values > 0) & (values < 1)]
    low, high = (float(inner.min()), float(inner.max())) if inner.size else (0.5, 0.5)
    low, high = low if values.min() > 0 else low / 2, high if values.max() < 1 else (1 + high) / 2
    bottom, top = (math.log(each / (1 - each)) for each in (low, high))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))
    if top - bottom < 1:
        space = 0.05 * (high - low or 0.1)
        ax.set_ylim(low - space, min(high + space, 1.0))
        return
    ax.set_yscale("logit")
    space = 0.05 * (top - bottom)
    ends = [1 / (1 + math.exp(-each)) for each in (bottom - space, top + space)]
    ax.set_ylim(*ends)
    names = {end: f"{limit:.0%}" for end, limit in zip(ends, (0.0, 1.0), strict=True) if limit in values}
    reach = [end + (space if end in names else 0.0) * side for end, side in zip((bottom, top), (1, -1), strict=True)]
    ticks = [tick for tick in _ACCURACIES if reach[0] - space < math.log(tick / (1 - tick)) < reach[1] + space]
    ax.yaxis.set_major_locator(FixedLocator([*names, *ticks]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: names.get(value) or f"{100 * value:.4g}%"))


def _strip(ax: Axes, shares: Sequence[tuple[int, Series, Sequence[float]]]) -> None:
    """Along the top a row of bars for each line with diverged runs: the share of them, of the height of the row."""
    if not shares:
        return
    across = ax.get_xaxis_transform()
    for row, (number, at, each) in enumerate(reversed(shares)):
        color = look(number)["color"]
        bottom = 1 - (row + 1) * _STRIP
        ax.plot(ax.get_xlim(), [bottom, bottom], color=color, linewidth=0.6, alpha=0.5, transform=across)
        left, right = _around(at)
        ax.bar(left, np.array(each) * _STRIP * 0.85, right - left, bottom, align="edge", color=color, transform=across)
    ax.text(0.01, 1.0 - len(shares) * _STRIP - 0.008, "share of diverged runs", transform=ax.transAxes, va="top",
            fontsize=font(ax) - 1.5, color=QUIET)  # fmt: skip


def _around(at: Series) -> tuple[Series, Series]:
    """The ends of bars around the values, on a logarithmic scale if they are positive."""
    places = np.log(at) if at.min() > 0 else at
    half = max(0.35 * np.diff(places).min(), 0.02 * np.ptp(places)) if len(places) > 1 else 0.1
    ends = places - half, places + half
    return (np.exp(ends[0]), np.exp(ends[1])) if at.min() > 0 else ends


# --- two settings ----------------------------------------------------------------------------------------------------


def heat_map(
    sweep: Source,
    x: str = "",
    y: str = "",
    metric: str = "",
    *,
    by: Sequence[str] | None = None,
    path: Path | None = None,
) -> Figure:
    """How does the end of training depend on two settings together? A panel for each optimizer.

    Each field is the median over seeds, of the best of the cells if more settings vary. The best field has a frame; a
    cross means that half of the runs or more diverged. The cells of a random search are dots.

    Args:
        sweep: as in `sensitivity`.
        x, y: two numeric settings; by default the first two that vary.
        metric: by default the one that cells are selected by.
        by: the settings that make a panel; by default those that are not numbers.
        path: as in `update_ratios`.

    Raises:
        ValueError: for an unknown metric or setting, or if fewer than two numeric settings vary.
    """
    results = results_of("heat_map", sweep)
    metric = results.known_metric(metric)
    names = [each for each in (x, y) if each] + [each for each in results.numeric if each not in (x, y)]
    if len(names) < 2:
        raise ValueError("heat_map: needs two numeric settings that vary in the sweep")
    x, y = names[:2]
    if path is not None:
        picture_format(path)
    groups = results.groups(by)
    tables = {name: _grid(results, cells, x, y, metric) for name, cells in groups.items()}
    tables = {name: found for name, found in tables.items() if found[2].size}
    known = np.concatenate([values[np.isfinite(values)] for _, _, values in tables.values()])
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure

    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    scale: Any = Normalize(low, high) if is_accuracy(metric) or low <= 0 else LogNorm(low, max(high, low * 1.001))
    columns = min(len(tables), 2)
    lines = -(-len(tables) // columns)
    figure = Figure(figsize=(4.4 * columns + 1.0, 3.4 * lines + 0.3), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    image: Any = None
    for ax, (name, found) in zip(panels, tables.items(), strict=False):
        draw = _dots if results.is_random(groups[name]) else _fields
        image = draw(ax, *found, metric, scale)
        tidy(ax, name if len(tables) > 1 else f"{_capital(metric)} at the end", setting_title(x), setting_title(y))
        ax.grid(visible=False)
    for ax in panels[len(tables) :]:
        ax.set_axis_off()
    bar = figure.colorbar(image, ax=panels.tolist(), shrink=0.85, pad=0.02)
    bar.set_label(_unit(metric) + ", median", fontsize=8.5)
    bar.ax.tick_params(labelsize=8, which="both")
    if is_accuracy(metric):
        from matplotlib.ticker import PercentFormatter

        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    bar.outline.set_visible(False)
    return finish(figure, path)


def _grid(results: Results, cells: Sequence[Cell], x: str, y: str, metric: str) -> tuple[list[Any], list[Any], Series]:
    """The values of both settings, and for each pair the best median; NaN where there is no cell."""
    at = sorted({cell.settings[x] for cell in cells} - {None})
    up = sorted({cell.settings[y] for cell in cells} - {None})
    values = np.full((len(up), len(at)), np.nan)
    for level, cell in ((each, cell) for each in up for cell in cells if cell.settings[y] == each):
        if cell.settings[x] is not None:
            place = up.index(level), at.index(cell.settings[x])
            median = float(medians(results.values(cell, metric)))
            values[place] = (np.fmax if is_accuracy(metric) else np.fmin)(values[place], median)
    return at, up, values


def _dots(ax: Axes, at: list[Any], up: list[Any], values: Series, metric: str, scale: Any) -> Any:
    ax.set_xscale("log" if at[0] > 0 else "linear")
    ax.set_yscale("log" if up[0] > 0 else "linear")
    rows, columns = np.nonzero(~np.isnan(values))
    x, y, shown = np.array(at, np.float64)[columns], np.array(up, np.float64)[rows], values[rows, columns]
    good = np.isfinite(shown)
    colors = "viridis" if is_accuracy(metric) else "viridis_r"
    image = ax.scatter(x[good], y[good], 34, shown[good], cmap=colors, norm=scale, edgecolors="white", linewidths=0.5)
    ax.plot(x[~good], y[~good], "x", color=QUIET, markersize=5)
    if good.any():
        best = np.nanargmax(shown) if is_accuracy(metric) else np.nanargmin(shown)
        ax.plot(
            x[best], y[best], "o", markersize=10, markerfacecolor="none", markeredgecolor="#D55E00", markeredgewidth=2
        )
    return image


def _fields(ax: Axes, at: list[Any], up: list[Any], values: Series, metric: str, scale: Any) -> Any:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    # Light is good in both directions.
    colors = colormaps["viridis" if is_accuracy(metric) else "viridis_r"].with_extremes(bad="#dddddd")
    shown = np.where(np.isfinite(values), values, np.nan)
    image = ax.imshow(shown, cmap=colors, norm=scale, origin="lower", aspect="auto")
    ax.set_xticks(range(len(at)), [f"{each:.3g}" for each in at], rotation=45 if len(at) > 6 else 0)
    ax.set_yticks(range(len(up)), [f"{each:.3g}" for each in up])
    size = min(font(ax) - 1, 26 / max(len(at), 1) ** 0.55)
    for (row, column), value in np.ndenumerate(values):
        if np.isinf(value):
            ax.text(column, row, "\N{MULTIPLICATION SIGN}", ha="center", va="center", fontsize=9, color=QUIET)
        elif np.isfinite(value):
            red, green, blue, _ = colors(scale(value))
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
            words = f"{100 * value:.0f}" if is_accuracy(metric) else f"{value:.2g}"
            ax.text(column, row, words, ha="center", va="center", fontsize=size, color="white" if dark else "black")
    if np.isfinite(values).any():
        best = np.nanargmax(shown) if is_accuracy(metric) else np.nanargmin(shown)
        row, column = np.unravel_index(best, values.shape)
        ax.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=2.2, clip_on=False)
        )
    return image


# --- targets ---------------------------------------------------------------------------------------------------------


def time_to_target(
    sweep: Source,
    target: float | None = None,
    metric: str = "",
    *,
    unit: str = "steps",
    by: Sequence[str] | None = None,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Figure:
    """How long does each optimizer train, at its best rate, until a validation metric is at a target?

    A dot is the run of one seed, a bar the median with its 90 % band. Runs that never reach the target are at the right
    of the dashed line, and count as infinite.

    Args:
        sweep: as in `sensitivity`.
        target: a value of the metric; by default one that all selected cells reach (`Results.common_target`).
        metric: by default the one that cells are selected by.
        unit: ``"steps"``, ``"epochs"`` or ``"seconds"``.
        by: as in `sensitivity`.
        ax, path: as in `update_ratios`.

    Raises:
        ValueError: for an unknown metric, unit or setting.
    """
    results = results_of("time_to_target", sweep)
    metric = results.known_metric(metric)
    selected = results.selected(metric, by)
    goal = results.common_target(selected, metric) if target is None else target
    times = [(each, results.reached(each.cell, goal, metric, unit)) for each in selected]
    times.sort(key=lambda each: float(np.nan_to_num(medians(each[1]), nan=np.inf)))
    figure, ax = canvas(ax, 6.5, 0.9 + 0.42 * len(times) + 0.5, path=path)
    sign = "\N{GREATER-THAN OR EQUAL TO}" if is_accuracy(metric) else "\N{LESS-THAN OR EQUAL TO}"
    tidy(ax, f"{unit.capitalize()} until {metric_title(metric)} {sign} {metric_text(metric, goal)}", unit, "")
    found = np.concatenate([each for _, each in times])
    finite = found[np.isfinite(found)]
    if not finite.size:
        note(ax, "no run reached the target")
        return finish(figure, path)
    never = bool(np.isinf(found).any())
    right = float(finite.max()) * 1.08
    beyond = right * 1.1  # where runs that never reach it are drawn
    order = list(results.groups(by))
    for row, (each, values) in enumerate(times):
        color = look(order.index(each.label))["color"]
        median, low, high = np.minimum(median_band(values), beyond)
        ax.plot([low, high], [row, row], color=color, linewidth=7, alpha=0.3, solid_capstyle="butt")
        ax.plot([median, median], [row - 0.28, row + 0.28], color=color, linewidth=2.4)
        known = np.minimum(values[~np.isnan(values)], beyond)
        spread = np.linspace(-0.16, 0.16, len(known)) if len(known) > 1 else np.zeros(len(known))
        ax.plot(known, row + spread, "o", color=color, markersize=3.6, markeredgecolor="white", markeredgewidth=0.4)
    ax.set_yticks(range(len(times)), [plain(each.label) for each, _ in times])
    ax.set_ylim(len(times) - 0.45, -0.55)
    ax.set_xlim(0, beyond * 1.04 if never else right)
    ax.grid(visible=False, axis="y")
    if never:
        ax.axvline(right * 1.03, color=QUIET, linewidth=0.9, linestyle="--")
        ticks = [tick for tick in ax.get_xticks() if tick <= right]
        ax.set_xticks([*ticks, beyond], [*(f"{tick:g}" for tick in ticks), "never"])
    return finish(figure, path)


def performance_profiles(
    costs: Mapping[str, Mapping[str, float]], *, ax: Axes | None = None, path: Path | None = None
) -> Figure:
    """On which share of problems is each method within a factor of the fastest? (Dolan and Moré 2002)

    Args:
        costs: for each problem the cost of each method, such as the steps to a target, infinite if it is never
            reached; `minigrad.study.sweeps.results.costs` makes them of sweeps.
        ax, path: as in `update_ratios`.

    Raises:
        ValueError: if there are no costs, one is 0 or less, or a method is missing for a problem.
    """
    methods = list(next(iter(costs.values()), ()))
    if not methods or any(set(each) != set(methods) for each in costs.values()):
        raise ValueError("performance_profiles: needs for each problem the costs of the same methods")
    taus, shares = performance_profile([[each[name] for each in costs.values()] for name in methods])
    figure, ax = canvas(ax, 6.0, 4.0, path=path)
    tidy(ax, f"Performance profiles over {plural(len(costs), 'problem')}", "cost, as a multiple of the lowest of any",
         "share of problems")  # fmt: skip
    last = max(float(taus[-1]) * 1.15, 1.2)
    at = np.append(taus, last)
    ax.set_xscale("log")
    from matplotlib.ticker import NullFormatter, PercentFormatter

    ticks = [tick for tick in (1, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000) if tick <= last]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_xlim(1, last)
    ax.set_ylim(-0.02, 1.04)
    ends = []
    for number, (name, share) in enumerate(zip(methods, shares, strict=True)):
        values = np.append(share, share[-1])
        ax.step(at, values, where="post", **look(number), linewidth=1.8, label=name)
        ends.append((name, at, values, look(number)["color"]))
    label_ends(ax, ends)
    return finish(figure, path)


# --- curves ----------------------------------------------------------------------------------------------------------


def learning_curves(
    sweep: Source,
    metric: str = "",
    *,
    by: Sequence[str] | None = None,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Figure:
    """How does training develop, epoch by epoch, in the best cell of each optimizer? Medians with 90 % bands.

    A line ends where half of the runs have diverged.

    Args:
        sweep, metric, by, ax, path: as in `sensitivity`.
    """
    results = results_of("learning_curves", sweep)
    chosen = results.selected("", by)
    order = list(results.groups(by))
    return _panels(
        lambda panel, each: _curves(panel, results, each, [(order.index(s.label), s) for s in chosen]),
        results, metric, ax, path,
    )  # fmt: skip


def _curves(ax: Axes, results: Results, metric: str, selected: Sequence[tuple[int, Selected]]) -> None:
    tidy(ax, _capital(metric), "epoch", _unit(metric))
    lines = []
    for number, each in sorted(selected, key=lambda pair: pair[0]):
        values = _by_epoch(results, each.cell, metric)
        if len(values):
            lines.append((number, each, np.array([median_band(epoch) for epoch in values])))
    if not lines:
        note(ax, "no epochs")
        return
    # A loss of 1e20 before a run was given up would leave no space for the others.
    ended = [band for *_, band in lines if np.isfinite(band[-1, 0])] or [band for *_, band in lines]
    low, high = _vertical(ax, metric, np.concatenate([band[:, 0] for band in ended]), 0)
    steps_axis(ax, np.array([1, max(len(band) for *_, band in lines)]))
    ends = []
    for number, each, band in lines:
        epochs = np.arange(1, len(band) + 1)
        shown = np.clip(np.where(np.isfinite(band[:, :1]), band, np.nan), low, high)
        ax.plot(epochs, shown[:, 0], **look(number), linewidth=1.7, label=each.label)
        ax.fill_between(epochs, *shown[:, 1:].T, color=look(number)["color"], **_BAND)
        name = _with_rate(each) + ("" if np.isfinite(band[-1, 0]) else " (diverged)")
        ends.append((name, epochs, shown[:, 0], look(number)["color"]))
    label_ends(ax, ends)


def _with_rate(selected: Selected) -> str:
    return f"{selected.label}, {selected.swept} {selected.best.value:.3g}" if selected.best else selected.label


def _by_epoch(results: Results, cell: Cell, metric: str) -> list[list[float]]:
    """The values of all seeds in each epoch; those of diverged runs are infinite after their last one."""
    worst = -math.inf if is_accuracy(metric) else math.inf
    curves = [
        (row["status"], [each.get(metric, math.nan) for each in results.curve(row["run"])])
        for row in cell.runs.values()
        if row["status"] != "failed"
    ]
    length = max((len(curve) for _, curve in curves), default=0)
    return [
        [curve[i] if i < len(curve) else worst if status == "diverged" else math.nan for status, curve in curves]
        for i in range(length)
    ]


def _capital(metric: str) -> str:
    title = metric_title(metric).replace("train ", "training ")
    return title[:1].upper() + title[1:]


def _unit(metric: str) -> str:
    return metric_title(metric).replace("train ", "training ")
