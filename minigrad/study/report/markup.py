"""Markup: the building blocks of a page. Text becomes HTML here and nowhere else, so that it is escaped once."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

# What HTML forbids in text, halves of characters that no file can hold, and marks that turn the direction of reading.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


class Html(str):
    """Text that is markup; any other text is escaped where it enters a tag."""


Part = str | None  # what a tag holds: markup, or text that it escapes


def escape(text: object) -> Html:
    """Any text as HTML: what could be read as markup, also within quotes, stands for itself."""
    return text if isinstance(text, Html) else Html(html.escape(readable(str(text))))


def readable(text: str) -> str:
    """The text without what no page can hold."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


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


def table(
    caption: str, headings: Sequence[Part], rows: Iterable[Sequence[Part]], words: int | Sequence[int] = 1
) -> Html:
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
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=kind(i)) for i, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    inside = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", inside, class_="scroll", tabindex=0, role="region", aria_label=caption)


def folded(summary: Part, *parts: Part, open_: bool = False, **attributes: str) -> Html:
    """What is shown when one asks for it."""
    return tag("details", tag("summary", summary), *parts, open=open_, **attributes)
