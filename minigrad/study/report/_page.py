"""The page: the values of its sections, and the template that shows them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...optim.explanation import Explanation
from ...text import plural
from ..findings import Finding
from . import _layers, _panels, _sections
from ._findings import all_findings, counts, findings_section, panel_of
from ._pictures import HEIGHT, LAYERS, WIDTH, drawable
from ._run_data import RunData
from ._sections import Values
from ._text import brief, capital, number, readable, sentence

if TYPE_CHECKING:
    from jinja2 import Template

GENERATOR = "minigrad report"  # by which a report is known when it is overwritten


def build(data: RunData, explanations: Sequence[Explanation], notes: Sequence[str]) -> tuple[str, list[Finding]]:
    """Return the whole page, and the findings in it."""
    found = all_findings(data)
    sections = _values(data, found, explanations, notes)
    panels = sections["layers"]["panels"] if "layers" in sections else []
    places = {*sections, *(panel["place"] for panel in panels)}
    sections["findings"] = findings_section(data, found, places)
    text = template("page.html").render(
        name=data.name,
        is_run=data.is_run,
        has_recording=data.recording is not None,
        status=f"{data.status}; {counts(found)}",
        headline=_sections.headline(data),
        sections=sections,
    )
    return readable(text), found


def _values(
    data: RunData, found: Sequence[Finding], explanations: Sequence[Explanation], notes: Sequence[str]
) -> dict[str, Values]:
    """The values of each section except the findings, by its place in the page. Empty sections are omitted."""
    sections: dict[str, Values | None] = {
        "summary": _sections.summary(data),
        "curves": _sections.curves(data),
        "model": _sections.model(data),
        "weights": _sections.weights(explanations, notes),
        "settings": _sections.settings(data),
    }
    recording = data.recording
    if recording is not None and recording.layers:
        drawn = drawable(recording)
        sections |= {
            "updates": _layers.updates(recording, drawn),
            "gradients": _layers.gradients(recording, drawn),
            "activations": _layers.activations(recording, drawn),
            "state": _layers.state(recording, drawn),
            "clips": _layers.clips(recording, drawn),
            "trust": _layers.trust(recording, drawn),
            "layers": _panels.panels(recording, {panel_of(recording, each.layer) for each in found}),
        }
    return {place: values for place, values in sections.items() if values is not None}


@functools.cache
def template(name: str) -> Template:
    """Return a compiled template. Whatever it is given is escaped, since a run's names may be hostile."""
    import jinja2  # which only a report needs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,  # a name that is not given is an error, not an empty text
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "brief": brief,
        "capital": capital,
        "number": number,
        "plural": plural,
        "sentence": sentence,
    }
    environment.globals |= {
        "generator": GENERATOR,
        "layers_drawn": LAYERS,
        "rows_listed": _layers.ROWS,
        "spark_size": (WIDTH, HEIGHT),
    }
    return environment.get_template(name)
