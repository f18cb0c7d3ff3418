"""Sparks: pictures as small as a word, drawn with the colors of the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .markup import Html, tag
from .series import Series

_WIDE, _HIGH, _POINTS = 120, 26, 60


def spark(values: Series, label: str) -> Html:
    """A line as high as a row of text; where all is above 0 and spans decades, of the logarithm.

    A cross is a value that is NaN or infinite.
    """
    if len(values) < 2:
        return Html("")
    if len(values) > _POINTS:
        even = np.linspace(0, len(values) - 1, _POINTS).round().astype(int)
        bad = np.flatnonzero(~np.isfinite(values))[:_POINTS]  # which are never passed over
        values = values[np.union1d(even, bad)]
    ok = np.isfinite(values)
    if not ok.any():
        return tag("span", "never finite", class_="quiet")
    shown = values
    if (values[ok] > 0).all() and values[ok].max() > 30 * values[ok].min():
        with np.errstate(all="ignore"):
            shown = np.log10(values)
    low, high = float(shown[ok].min()), float(shown[ok].max())
    x = np.linspace(2, _WIDE - 2, len(values))
    with np.errstate(all="ignore"):
        y = np.full(len(values), _HIGH / 2) if high == low else _HIGH - 4 - (shown - low) / (high - low) * (_HIGH - 8)
    pieces = np.split(np.arange(len(values)), np.flatnonzero(np.diff(ok.astype(int))) + 1)
    lines = [
        tag(
            "polyline",
            points=" ".join(f"{x[i]:.3g},{y[i]:.3g}" for i in (piece if len(piece) > 1 else [*piece, *piece])),
        )
        for piece in pieces
        if ok[piece[0]]
    ]
    crosses = [tag("path", d=f"M{x[i] - 2:.3g},3l4,4m0,-4l-4,4", class_="bad") for i in np.flatnonzero(~ok)]
    end = [tag("circle", cx=f"{x[-1]:.3g}", cy=f"{y[-1]:.3g}", r="2")] if ok[-1] else []
    box = f"0 0 {_WIDE} {_HIGH}"
    return tag("svg", *lines, *crosses, *end, viewBox=box, role="img", aria_label=label, class_="spark")


def bars(counts: Sequence[float], label: str) -> Html:
    """A histogram as high as a row of text."""
    top, width = max(counts, default=0), _WIDE / max(len(counts), 1)
    if not top > 0:
        return Html("")
    path = "".join(
        f"M{i * width:.4g},{_HIGH}v{-count / top * _HIGH:.3g}h{width * 0.9:.3g}V{_HIGH}z"
        for i, count in enumerate(counts)
        if count
    )
    return tag("svg", tag("path", d=path), viewBox=f"0 0 {_WIDE} {_HIGH}", role="img", aria_label=label, class_="bars")
