"""Markup: the building blocks of a page. Text becomes HTML here and nowhere else, so that it is escaped once."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

# What HTML forbids in text, halves of characters that no file can hold, and marks that turn the direction of reading.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_LONGEST = 300  # characters of a name or a value


class Html(str):
    """Text that is markup; any other text is escaped where it enters a tag."""


Part = str | None  # what a tag holds: markup, or text that it escapes


def escape(text: object) -> Html:
    """Any text as HTML: what could be read as markup, also within quotes, stands for itself."""
    return text if isinstance(text, Html) else Html(html.escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(text))))


def brief(text: object) -> str:
    """A name or a value from a run, cut where it is endless."""
    whole = str(text)
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}… ({len(whole):,} characters)"


def tag(name: str, /, *parts: Part, **attributes: str | int | bool | None) -> Html:
    """An element. ``class_`` and ``aria_label`` are class and aria-label; True is an attribute without a value."""
    words = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            key = key.rstrip("_").replace("_", "-")
            words.append(key if value is True else f'{key}="{escape(value)}"')
    inside = join(*parts)
    end = "" if name in ("img", "meta", "br", "hr") else f"</{name}>"
    return Html(f"<{' '.join(words)}>{inside}{end}")


def join(*parts: Part) -> Html:
    """Parts one after the other; None is nothing."""
    return Html("".join(escape(part) for part in parts if part is not None))


def link(target: str, text: str) -> Html:
    """A link to a place in the page."""
    return tag("a", text, href=f"#{target}")


def bullets(items: Iterable[Part], **attributes: str) -> Html:
    """A list."""
    return tag("ul", *(tag("li", item) for item in items), **attributes)


def terms(pairs: Iterable[tuple[str, Part]], **attributes: str) -> Html:
    """A list of names and what they are."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), **attributes)


def table(caption: str, headings: Sequence[Part], rows: Iterable[Sequence[Part]], words: int | Sequence[int] = 1) -> Html:
    """A table whose first column names the rows; it scrolls by itself where the page is narrow.

    Args:
        caption: what it shows.
        headings: of the columns.
        rows: their cells.
        words: the columns that hold words and not numbers: so many from the left, or their places.
    """
    wordy = set(range(words)) if isinstance(words, int) else set(words)

    def kind(column: int) -> str | None:
        return None if column in wordy else "n"

    head = tag("tr", *(tag("th", text, scope="col", class_=kind(i)) for i, text in enumerate(headings)))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell, class_=kind(i)) for i, cell in enumerate(row[1:], 1)))
        for row in rows
    ]
    inside = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", inside, class_="scroll", tabindex=0, role="region", aria_label=caption)


def folded(summary: Part, *parts: Part, open_: bool = False, **attributes: str) -> Html:
    """What is shown when one asks for it."""
    return tag("details", tag("summary", summary), *parts, open=open_, **attributes)


# --- numbers ---------------------------------------------------------------------------------------------------------

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: object, digits: int = 3) -> str:
    """A number as people write it: whole with commas, others to so many digits, and powers of ten where it is far from 1.

    >>> number(1234), number(0.01234), number(1.5e-7), number(float("nan"))
    ('1,234', '0.0123', '1.5 × 10⁻⁷', 'NaN')
    """
    if value is None or isinstance(value, str):
        return "" if value is None else brief(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    try:
        real = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError, OverflowError):
        return brief(value)
    if math.isnan(real):
        return "NaN"
    if math.isinf(real):
        return "−∞" if real < 0 else "∞"
    if real == int(real) and abs(real) < 1e9:
        return f"{int(real):,}".replace("-", "−")
    if 1e-3 <= abs(real) < 1e6:
        short = f"{real:.{digits}g}"
        return (f"{float(short):,.0f}" if "e" in short else short).replace("-", "−")
    mantissa, _, power = f"{real:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa.replace('-', '−')} × 10{str(int(power)).translate(_RAISED)}"


def share(part: float, whole: float) -> str:
    """A part in per cent; rounded, but never to all or nothing."""
    if not whole:
        return "none"
    rounded = f"{part / whole:.0%}"
    return "> 99%" if rounded == "100%" and part < whole else "< 1%" if rounded == "0%" and part > 0 else rounded


def plural(count: int, word: str) -> str:
    """A count and a noun: ``1 step``, ``2,000 steps``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


# --- small pictures --------------------------------------------------------------------------------------------------

Series = npt.NDArray[np.float64]
_WIDE, _HIGH, _POINTS = 120, 26, 60


def spark(values: Series, label: str) -> Html:
    """A line as high as a row of text; where all is above 0 and spans decades, the logarithm. A cross is NaN or infinite."""
    if len(values) < 2:
        return Html("")
    chosen = np.unique(np.linspace(0, len(values) - 1, _POINTS).round().astype(int)) if len(values) > _POINTS else None
    values = values if chosen is None else values[chosen]
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
        tag("polyline", points=" ".join(f"{x[i]:.3g},{y[i]:.3g}" for i in (piece if len(piece) > 1 else [*piece, *piece])))
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
        f"M{i * width:.4g},{_HIGH}v{-count / top * _HIGH:.3g}h{width * 0.9:.3g}V{_HIGH}z" for i, count in enumerate(counts) if count
    )
    return tag("svg", tag("path", d=path), viewBox=f"0 0 {_WIDE} {_HIGH}", role="img", aria_label=label, class_="bars")
