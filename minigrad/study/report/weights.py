"""The section about single weights: every term of the update that one step made to them."""

from __future__ import annotations

from collections.abc import Sequence

from ..updates.explanation import Explanation
from .markup import Html, Part, folded, join, table, tag
from .sections import Section
from .wording import brief, number


def weights_section(explanations: Sequence[Explanation], notes: Sequence[str]) -> Section | None:
    """An article for each explained weight.

    Args:
        explanations: as `minigrad.optim.Optimizer.explain` makes them.
        notes: what there is to say of them, such as why there are none.
    """
    if not explanations and not notes:
        return None
    shown = [_article(each, open_=number_ == 0) for number_, each in enumerate(explanations)]
    question = "How did one step change one weight, term by term?"
    return Section("weights", "Explained updates", question, join(*(tag("p", note) for note in notes), *shown))


def _article(explanation: Explanation, open_: bool) -> Html:
    e = explanation
    where = f"[{', '.join(map(str, e.index))}]" if e.index else ""
    name = f"{brief(e.parameter)}{where}"
    if e.outcome == "updated":
        ratio = f", {number(100 * abs(e.change / e.before))}% of it" if e.before and e.change else ""
        exact = "The rules, run as plain Python, give what the compiled step has stored to the last bit."
        told: list[Part] = [
            f"Step {e.step:,} took it from ", tag("code", e.shown(e.before)), " to ", tag("code", e.shown(e.after)),
            f": a change of {number(e.change)}{ratio}. {exact if e.exact else ''}",
        ]  # fmt: skip
    else:
        told = [f"Step {e.step:,} did not change it: {e.outcome}."]
    sections = [
        # What belongs to no rule is first what was there, and later the norms that the next rule reads.
        table(
            heading or ("Norms" if place else "What the step began with"),
            ["name", "value", "from"],
            [_row(*row) for row in rows],
            words=3,
        )
        for place, (heading, rows) in enumerate(e.rows())
    ]
    return tag(
        "article",
        tag("h3", tag("code", name), f" {e.optimizer}, {e.dtype}"),
        tag("p", *told),
        *(tag("p", f"{note[:1].upper()}{note[1:]}.") for note in e.notes),
        folded("Every term", *sections, open_=open_),
    )


def _row(name: str, value: str, source: str, note: str) -> list[Part]:
    words = join(tag("code", source) if source else None, tag("small", note) if note else None)
    return [tag("code", brief(name)), tag("code", value, class_="value"), words]
