"""Explanation: one weight's update as named terms, to be printed, shown in a notebook, or written as JSON."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..checks import unknown
from ..text import terminal_width

_ROOM = 50  # columns of text next to the numbers; narrower text is wrapped too often to be read

# The sources of a change.
PARTS = {
    "gradient": "from this step's gradient",
    "earlier steps": "from earlier gradients, carried over by momentum",
    "decay": "from this step's weight decay",
    "slow weights": "taken back by Lookahead",
    "other": "not linear in these",
    "rounding": "the remainder",
}

Row = tuple[str, str, str, str]  # name, value, source, note


@dataclass(frozen=True)
class Term:
    """One number of an update.

    Attributes:
        kind: ``"value"`` (an input of the step), ``"norm"``, ``"option"``, ``"scalar"`` (computed from the step)
            or ``"assignment"``.
        name: its name in the rules.
        value: the number; exact also for float32.
        before: for an assignment to the parameter, the update or a state, its value before the rule.
        rule: the rule that it belongs to; empty for inputs of the step and for norms.
        source: the statement of the rule.
        line: the number of its line in the file.
        note: its meaning, or its origin.
        exact: whether it is a number of the parameter's dtype; others are float64.
    """

    kind: str
    name: str
    value: float
    before: float | None = None
    rule: str = ""
    source: str = ""
    line: int | None = None
    note: str = ""
    exact: bool = False


@dataclass(frozen=True)
class Check:
    """A result of the rules as plain Python, and of the compiled step.

    Attributes:
        name: ``"param"`` or a state.
        plain, stored: the two values.
        ulps: how many steps from one number of this dtype to the next are between them; 0 for the same bits.
    """

    name: str
    plain: float
    stored: float
    ulps: int


@dataclass(frozen=True)
class Explanation:
    """Every term of one update of one weight. Made by ``optimizer.explain``; print it.

    Attributes:
        optimizer: the name of its class.
        parameter, index: which weight.
        dtype: of the parameter.
        step: the number of this parameter's step, from 1, which bias corrections count; if it took none, how many
            it had taken before.
        group: the number of its param group.
        outcome: ``"updated"``, or why it was not: ``"no gradient"``, ``"skipped"`` by a clip, ``"stopped"`` by an
            error.
        terms: in the order in which they were computed.
        checks: parameter and state, computed as plain Python and as stored.
        parts: the change divided by source, by the names in `PARTS`; they add up to the change.
        notes: further remarks.
    """

    optimizer: str
    parameter: str
    index: tuple[int, ...]
    dtype: str
    step: int
    group: int
    outcome: str
    terms: tuple[Term, ...]
    checks: tuple[Check, ...]
    parts: dict[str, float]
    notes: tuple[str, ...] = ()

    @property
    def before(self) -> float:
        """The weight before the step."""
        return self["param"].value

    @property
    def after(self) -> float:
        """The weight after the step."""
        stored = [check.stored for check in self.checks if check.name == "param"]
        return stored[0] if stored else self.before

    @property
    def change(self) -> float:
        """The change of the weight."""
        return self.after - self.before

    @property
    def exact(self) -> bool:
        """Whether the terms reproduce everything that was stored to the last bit."""
        return all(check.ulps == 0 for check in self.checks)

    def __getitem__(self, name: str) -> Term:
        """The first term of a name; `last` has the last one.

        Raises:
            KeyError: if no term has the name.
        """
        return next(iter(self.named(name)))

    def last(self, name: str) -> Term:
        """The last term of a name."""
        return self.named(name)[-1]

    def named(self, name: str) -> list[Term]:
        """Every term of a name.

        Raises:
            KeyError: if no term has the name.
        """
        found = [term for term in self.terms if term.name == name]
        if not found:
            raise KeyError(unknown("term", name, dict.fromkeys(term.name for term in self.terms)))
        return found

    @property
    def title(self) -> str:
        """The heading: which step of which weight."""
        where = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        count = f"{self.dtype}, param group {self.group}"
        weight = f"{self.parameter}{where}"
        if self.outcome != "updated":
            return f"{self.optimizer}, no update of {weight} after {self.step} steps ({count})"
        return f"{self.optimizer}, step {self.step} of {weight} ({count})"

    def sections(self) -> Iterator[tuple[str, list[Term]]]:
        """The terms rule by rule, each with its name; terms of no rule come under the empty name."""
        for i, term in enumerate(self.terms):
            if i == 0 or term.rule != self.terms[i - 1].rule:
                first = i
            if i + 1 == len(self.terms) or self.terms[i + 1].rule != term.rule:
                yield term.rule, list(self.terms[first : i + 1])

    def shown(self, value: float, exact: bool = True) -> str:
        """Format a number; exact: with the fewest digits that identify it in the parameter's dtype."""
        return str(np.dtype(self.dtype).type(value)) if exact else f"{value:.10g}"

    def _value(self, term: Term) -> str:
        text = self.shown(term.value, term.exact)
        return text if term.before is None else f"{self.shown(term.before)} → {text}"

    def rows(self) -> Iterator[tuple[str, list[Row]]]:
        """The printed table: each heading with its rows of name, value, source and note."""
        for rule, terms in self.sections():
            yield rule, [(t.name, self._value(t), t.source, t.note) for t in terms]
        if self.checks:
            rows = [(name, f"{part:.10g}", "", PARTS.get(name, "")) for name, part in self.parts.items()]
            yield "the change, by source", rows
            rows = [("change", f"{self.change:.10g}", "", "the sum of these")]
            for check in self.checks:
                off = f"{check.ulps} ulp from {self.shown(check.plain)}, the result of the rules as plain Python"
                rows.append((check.name, self.shown(check.stored), "", off if check.ulps else "as computed above"))
            yield f"stored by the compiled step{', equal to the last bit' if self.exact else ''}", rows

    def __str__(self) -> str:
        sections = list(self.rows())
        first, second = (max((len(row[i]) for _, rows in sections for row in rows), default=0) for i in (0, 1))
        lines = [self.title, *(f"  {note}" for note in self.notes)]
        for heading, rows in sections:
            lines += ["", heading] if heading else [""]
            for name, value, source, note in rows:
                texts = [text for text in (source, f"# {note}" if source and note else note) if text]
                lines += _row(f"  {name:<{first}}  {value:<{second}}  ", texts)
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        e = html.escape
        style = 'style="text-align:left;padding:1px 12px 1px 0;vertical-align:top"'
        parts = [f"<p><b>{e(self.title)}</b>{''.join(f'<br>{e(note)}' for note in self.notes)}</p>", "<table>"]
        for heading, section in self.rows():
            if heading:
                parts.append(f'<tr><th colspan="3" {style}>{e(heading)}</th></tr>')
            for name, value, source, note in section:
                words = f"<code>{e(source)}</code>{'<br>' if source and note else ''}{e(note)}"
                cells = (f"<code>{e(name)}</code>", e(value).replace(" ", "&nbsp;"), words)
                parts.append(f"<tr>{''.join(f'<td {style}>{text}</td>' for text in cells)}</tr>")
        return "".join([*parts, "</table>"])

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON values; a number that is not finite becomes ``"nan"`` or ``"inf"``."""
        found = asdict(self)
        shown = {"before": self.before, "after": self.after, "change": self.change, "exact": self.exact}
        return {key: _json(value) for key, value in {**found, **shown}.items()}


def _row(numbers: str, texts: list[str]) -> list[str]:
    """Texts next to the numbers, or below them if they do not fit."""
    columns = terminal_width()
    room = columns - len(numbers)
    if room < _ROOM and any(len(text) > room for text in texts):
        return [numbers, *(f"      {line}" for text in texts for line in _wrapped(text, columns - 6))]
    first, *others = [line for text in texts for line in _wrapped(text, room)] or [""]
    return [numbers + first, *(" " * len(numbers) + line for line in others)]


def _wrapped(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def ulps(a: float, b: float, dtype: np.dtype[Any]) -> int:
    """The number of steps, from one number of the dtype to the next, from a to b; 0 for two NaN."""
    if math.isnan(a) or math.isnan(b):
        return 0 if math.isnan(a) and math.isnan(b) else 1 << (8 * dtype.itemsize - 2)
    if a == b and math.copysign(1.0, a) != math.copysign(1.0, b):
        return 1
    kind = np.dtype(f"i{dtype.itemsize}")

    def place(x: float) -> int:
        bits = int(np.array(x, dtype).view(kind))
        return bits if bits >= 0 else -(bits & np.iinfo(kind).max)

    return abs(place(a) - place(b))
