"""Pictures of results, drawn only from the JSON files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from .report import Result, rows_of
from .timing import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colors, which color-blind readers can tell apart; markers and order tell them apart too.
OURS, TORCH, JAX, OTHER, GRAY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
LIGHT = "#56B4E9"
STYLES = {
    "minigrad": (OURS, "o", "-"),
    "PyTorch": (TORCH, "s", "--"),
    "optax": (JAX, "^", "-."),
    "JAX": (JAX, "^", "-."),
    "JAX with optax": (JAX, "^", "-."),
    "eager": (GRAY, "o", "-"),
    "compiled call": (LIGHT, "o", "-"),
    "compiled epoch": (OURS, "o", "-"),
    "jax.jit": (JAX, "^", "-."),
    "lax.scan": (OTHER, "v", "-."),
}
Painter = Callable[[Sequence["Axes"], Result], None]


def draw(result: Result) -> bytes | None:
    """Return the picture of a group as PNG, or ``None`` if it has none or measured nothing."""
    if result["group"] not in _PAINTERS or not any(table["rows"] for table in result["tables"]):
        return None
    from matplotlib.figure import Figure

    painter, panels, size = _PAINTERS[result["group"]]
    count = panels(result) if callable(panels) else panels
    figure = Figure(figsize=(size[0] * count, size[1]), layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    painter(axes, result)
    for ax in axes:
        ax.grid(alpha=0.3, which="major")
        ax.set_axisbelow(True)
    effort = "" if result["effort"] == "full" else f" ({result['effort']}: few repetitions)"
    figure.suptitle(result["title"] + effort)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


# --- parts -----------------------------------------------------------------------------------------------------------


def _line(ax: Axes, xs: Sequence[float], measures: Sequence[Measure], who: str, label: str = "") -> None:
    """Draw medians with their quartiles."""
    color, marker, dash = STYLES.get(who, (OTHER, "D", ":"))
    ax.errorbar(
        xs,
        [m.median for m in measures],
        yerr=_spread(measures),
        color=color,
        marker=marker,
        linestyle=dash,
        capsize=3,
        label=label or who,
    )


def _spread(measures: Sequence[Measure]) -> list[list[float]]:
    return [[m.median - m.q1 for m in measures], [m.q3 - m.median for m in measures]]


def _series(ax: Axes, rows: Sequence[dict[str, Any]], x: str, suffix: str = " (µs)") -> None:
    """Draw a line for each library that has a column."""
    for who in ("minigrad", "PyTorch", "optax", "JAX"):
        there = [row for row in rows if isinstance(row.get(who + suffix), Measure)]
        if there:
            _line(ax, [row[x] for row in there], [row[who + suffix] for row in there], who)


def _bars(ax: Axes, rows: Sequence[dict[str, Any]], label: str, columns: dict[str, str], base: float = 0.0) -> None:
    """Draw horizontal bars from ``base``: for each row a bar per column, with quartiles."""
    height = 0.8 / len(columns)
    for number, (who, column) in enumerate(columns.items()):
        color = STYLES.get(who, (OTHER, "", ""))[0]
        there = [(i, row[column]) for i, row in enumerate(rows) if isinstance(row.get(column), Measure)]
        if not there:
            continue
        at = [i + (number - (len(columns) - 1) / 2) * height for i, _ in there]
        measures = [m for _, m in there]
        widths = [m.median - base for m in measures]
        ax.barh(at, widths, height, left=base, xerr=_spread(measures), color=color, label=who, capsize=2)
    ax.set_yticks(range(len(rows)), [row[label] for row in rows])
    ax.invert_yaxis()


def _ratio_axis(ax: Axes) -> None:
    """Draw ratios on a logarithmic axis, with a line where both are equally fast."""
    ax.set_xscale("log")
    ax.axvline(1, color="black", linewidth=1)
    ax.xaxis.set_major_locator(_Ticks())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.minorticks_off()


def _Ticks() -> Any:  # noqa: N802 - named like a class, since matplotlib's class is imported late
    from matplotlib.ticker import LogLocator

    return LogLocator(10, subs=(1, 2, 5))


def _legend(ax: Axes) -> None:
    """Draw a legend, if there is anything to name."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend()


def _log_log(ax: Axes, x: str, y: str) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    _legend(ax)


# --- groups ----------------------------------------------------------------------------------------------------------


def _by_size(axes: Sequence[Axes], result: Result) -> None:
    rows = rows_of(result, "adam")
    _series(axes[0], rows, "parameters")
    _log_log(axes[0], "parameters", "µs per step of Adam")
    for who in ("PyTorch", "optax"):
        column = f"times faster than {who}"
        there = [row for row in rows if column in row]
        if there:
            _line(axes[1], [row["parameters"] for row in there], [row[column] for row in there], who, f"than {who}")
    axes[1].axhline(1, color="black", linewidth=1)
    _log_log(axes[1], "parameters", "times faster")
    axes[1].yaxis.set_major_locator(_Ticks())
    axes[1].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[1].yaxis.minorticks_off()


def _by_algorithm(axes: Sequence[Axes], result: Result) -> None:
    for ax, table in zip(axes, [t for t in result["tables"] if not t["detail"]], strict=True):
        columns = {who: f"times faster than {who}" for who in ("PyTorch", "optax")}
        _bars(ax, table["rows"], "optimizer", columns, base=1.0)
        _ratio_axis(ax)
        ax.set_title(table["title"])
        ax.set_xlabel("times faster than the fastest setting of")
        _legend(ax)


def _clip(axes: Sequence[Axes], result: Result) -> None:
    rows = rows_of(result, "clip")
    _series(axes[0], rows, "parameters")
    _log_log(axes[0], "parameters", "µs per clip and step")
    xs = [row["parameters"] for row in rows]
    _line(axes[1], xs, [row["times Adam alone"] for row in rows], "minigrad", "clip and Adam")
    axes[1].axhline(32 / 28, color=GRAY, linestyle=":", label="what its bytes cost: 32/28")
    axes[1].axhline(1, color="black", linewidth=1)
    axes[1].set_xscale("log")
    axes[1].set_xlabel("parameters")
    axes[1].set_ylabel("times Adam alone")
    _legend(axes[1])


def _training(axes: Sequence[Axes], result: Result) -> None:
    rows = rows_of(result, "models")
    columns = {who: f"{who} (µs)" for who in ("minigrad", "PyTorch", "JAX")}
    _bars(axes[0], rows, "model", columns | {"NumPy calls alone": "its NumPy calls alone (µs)"})
    axes[0].set_xscale("log")
    axes[0].set_xlabel("µs per training step with Adam")
    _legend(axes[0])
    _bars(axes[1], rows, "model", {who: f"times faster than {who}" for who in ("PyTorch", "JAX")}, base=1.0)
    _ratio_axis(axes[1])
    axes[1].set_xlabel("times faster than the fastest setting of")
    _legend(axes[1])


def _compiled(axes: Sequence[Axes], result: Result) -> None:
    calls, epochs = rows_of(result, "calls"), rows_of(result, "epochs")
    ways = ("eager", "compiled call", "compiled epoch", "PyTorch", "jax.jit", "lax.scan")
    rows = [call | epoch for call, epoch in zip(calls, epochs, strict=True)]
    _bars(axes[0], rows, "model", {way: f"{way} (µs)" for way in ways})
    axes[0].set_xlabel("µs per training step with Adam")
    axes[0].set_xscale("log")
    for ax, rows, own, peer in ((axes[1], calls, "call", "jax.jit"), (axes[2], epochs, "epoch", "lax.scan")):
        _bars(ax, rows, "model", {who: f"times faster than {who}" for who in ("PyTorch", peer)}, base=1.0)
        _ratio_axis(ax)
        ax.set_xlabel(f"compiled {own}: times faster than")
    for ax in axes:
        _legend(ax)


def _bandwidth(axes: Sequence[Axes], result: Result) -> None:
    rows = rows_of(result, "bandwidth")
    colors = [GRAY if row["what"].startswith(("copy", "triad")) else OURS for row in rows]
    axes[0].barh(range(len(rows)), [row["GB/s"] for row in rows], color=colors)
    axes[0].set_yticks(range(len(rows)), [row["what"] for row in rows])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("GB/s (gray: loops that only move memory)")


def _scaling(axes: Sequence[Axes], result: Result) -> None:
    rows = rows_of(result, "size")
    _line(axes[0], [row["parameters"] for row in rows], [row["ns per parameter"] for row in rows], "minigrad")
    axes[0].set_xscale("log")
    axes[0].set_ylim(bottom=0)
    axes[0].set_xlabel("parameters")
    axes[0].set_ylabel("ns per parameter and step of Adam")
    _series(axes[1], rows_of(result, "tensors"), "tensors")
    _log_log(axes[1], "tensors", "µs per step")


def _startup(axes: Sequence[Axes], result: Result) -> None:
    rows = rows_of(result, "startup")
    parts = (("import (s)", OURS), ("model and gradients (s)", JAX), ("first step (s)", TORCH))
    left = [0.0] * len(rows)
    for (column, color), hatch in zip(parts, ("", "//", ".."), strict=True):
        values = [row[column].median for row in rows]
        label = column.removesuffix(" (s)")
        axes[0].barh(range(len(rows)), values, left=left, color=color, hatch=hatch, edgecolor="white", label=label)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes[0].set_yticks(range(len(rows)), [row["start"] for row in rows])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("seconds to the end of the first step, in a fresh process")
    _legend(axes[0])


def _depth(axes: Sequence[Axes], result: Result) -> None:
    rows = rows_of(result, "time")
    for ax, part in zip(axes, ("forward", "backward"), strict=True):
        for who in ("minigrad", "PyTorch"):
            for setting, label in (("", who), (", no gc", f"{who}, no gc")):
                there = [row for row in rows if f"{who}, {part}{setting} (µs)" in row]
                if there and (who == "minigrad" or not setting):
                    measures = [row[f"{who}, {part}{setting} (µs)"] for row in there]
                    _line(ax, [row["operations"] for row in there], measures, who if not setting else "", label)
        ax.set_xscale("log")
        ax.set_ylim(bottom=0)
        ax.set_title(part)
        ax.set_xlabel("chained operations")
        ax.set_ylabel("µs per operation")
        _legend(ax)


def _recorder(axes: Sequence[Axes], result: Result) -> None:
    rows = [
        row | {"what": f"{row['optimizer']}, {row['model']}, every {row['records every']}"}
        for row in rows_of(result, "recorder")
    ]
    _bars(axes[0], rows, "what", {"minigrad": "times without"}, base=1.0)
    axes[0].axvline(1, color="black", linewidth=1)
    axes[0].set_xlabel("time per step, times that without a recorder")


def _memory(axes: Sequence[Axes], result: Result) -> None:
    for ax, name, least in ((axes[0], "steps", 16), (axes[1], "training", 16)):
        rows = rows_of(result, name)
        _bars(ax, rows, "library", {"minigrad": "bytes per parameter"})
        for bar, row in zip(ax.patches, rows, strict=True):
            bar.set_facecolor(STYLES[row["library"]][0])
        ax.axvline(least, color="black", linewidth=1, linestyle="--")
        title = next(table["title"] for table in result["tables"] if table["name"] == name)
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel("peak bytes per parameter (dashed: parameter, gradient, two moments)")


def _digits(axes: Sequence[Axes], result: Result) -> None:
    rows = rows_of(result, "optimizers")
    for ax, unit, words in ((axes[0], "steps", "steps"), (axes[1], "seconds", "seconds of forward, backward and step")):
        for target, color, marker in (("96%", GRAY, "|"), ("97%", OURS, "o")):
            there = [(i, row[f"{unit} to {target}"]) for i, row in enumerate(rows) if row[f"{unit} to {target}"]]
            measures = [m for _, m in there]
            ax.errorbar(
                [m.median for m in measures],
                [i for i, _ in there],
                xerr=_spread(measures),
                fmt=marker,
                color=color,
                markersize=9 if marker == "|" else 6,
                capsize=4 if marker == "o" else 0,
                label=f"to {target.replace('%', ' %')}",
            )
        ax.set_yticks(range(len(rows)), [f"{row['optimizer']}, {row['reached 97%']}" for row in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.set_xlabel(words)
        _legend(ax)
    axes[0].set_title("beside the name: how many seeds reached 97 %", fontsize="medium")
    axes[1].set_title("median and quartiles over the seeds that got there", fontsize="medium")


def _visible(result: Result) -> int:
    return sum(not table["detail"] for table in result["tables"])


# By group: the function that paints, the number of panels, and the size of one in inches.
_PAINTERS: dict[str, tuple[Painter, Any, tuple[float, float]]] = {
    "step_by_size": (_by_size, 2, (5.5, 4.2)),
    "step_by_algorithm": (_by_algorithm, _visible, (6.5, 7.0)),
    "clip_step": (_clip, 2, (5.5, 4.2)),
    "training_step": (_training, 2, (5.5, 4.8)),
    "compiled": (_compiled, 3, (5.5, 4.8)),
    "bandwidth": (_bandwidth, 1, (7.5, 4.2)),
    "scaling": (_scaling, 2, (5.5, 4.2)),
    "startup": (_startup, 1, (8.0, 3.2)),
    "graph_depth": (_depth, 2, (5.5, 4.2)),
    "recorder": (_recorder, 1, (9, 4)),
    "peak_memory": (_memory, 2, (6.0, 2.8)),
    "optimizers_on_digits": (_digits, 2, (5.5, 5.0)),
}
