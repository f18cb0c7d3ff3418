"""The page: its sections in order, a table of contents, and everything that it needs within itself."""

from __future__ import annotations

from collections.abc import Sequence

from ...text import plural
from ..findings import SEVERITIES, Finding
from ..updates.explanation import Explanation
from .drawable import drawable
from .finding_list import findings_section, layer_place
from .layers import activations_section, gradients_section, state_section, updates_section
from .ledgers import clips_section, trust_section
from .markup import Html, bullets, join, link, tag, terms
from .model import model_section
from .outcome import all_findings, status
from .panels import layers_section
from .sections import Section, curves_section, headline, settings_section, summary_section
from .source import Source
from .style import CSS
from .weights import weights_section

GENERATOR = "minigrad report"
# Nothing is loaded, and nothing runs: what stands in the page is style and pictures.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def build(source: Source, explanations: Sequence[Explanation], notes: Sequence[str]) -> tuple[Html, list[Finding]]:
    """The whole page, and the findings in it."""
    found = all_findings(source)
    sections = _sections(source, found, explanations, notes)
    places = {section.place for section in sections} | _panels(sections)
    sections.insert(0, findings_section(source, found, places))
    contents = bullets(link(section.place, section.title) for section in sections)
    body = tag(
        "body",
        tag(
            "header",
            tag("h1", source.name),
            tag("p", f"{_capital(status(source))}; {count(found)}.", class_="state"),
            terms(headline(source), class_="tiles"),
        ),
        tag("nav", contents, aria_label="Contents"),
        tag("main", *map(_section, sections)),
        tag("footer", tag("p", _footer(source))),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="generator", content=GENERATOR),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{source.name}: report"),
        tag("style", Html(CSS)),
    )
    return join(Html("<!DOCTYPE html>\n"), tag("html", head, body, lang="en"), Html("\n")), found


def _sections(
    source: Source, found: Sequence[Finding], explanations: Sequence[Explanation], notes: Sequence[str]
) -> list[Section]:
    sections = [summary_section(source), curves_section(source)]
    recording = source.recording
    if recording is not None and recording.layers:
        drawn = drawable(recording)
        sections += [
            updates_section(recording, drawn),
            gradients_section(recording, drawn),
            activations_section(recording, drawn),
            state_section(recording, drawn),
            clips_section(recording, drawn),
            trust_section(recording, drawn),
        ]
    sections.append(model_section(source.model))
    if recording is not None and recording.layers:
        marked = {layer_place(source, each.layer) for each in found} - {None}
        sections.append(layers_section(source, recording, {place for place in marked if place}))
    sections += [weights_section(explanations, notes), settings_section(source)]
    return [section for section in sections if section is not None]


def _panels(sections: Sequence[Section]) -> set[str]:
    """The places within the section of the layers."""
    return {f"layer-{i}" for i in range(1000) for s in sections if s.place == "layers" and f'id="layer-{i}"' in s.body}


def _section(section: Section) -> Html:
    heading = tag("h2", section.title, id=f"{section.place}-title")
    question = tag("p", section.question, class_="question")
    return tag("section", heading, question, section.body, id=section.place, aria_labeledby=f"{section.place}-title")


def count(found: Sequence[Finding]) -> str:
    """How many findings of each severity there are, in words."""
    counts = [(name, sum(each.severity == name for each in found)) for name in SEVERITIES]
    return ", ".join(plural(number, name) for name, number in counts if number) or "nothing stands out"


def _footer(source: Source) -> str:
    files = ["config.json", "metrics.csv", "steps.jsonl", *(["record.jsonl"] if source.recording else [])]
    made = f"Made from {', '.join(files)}" if source.is_run else "Made from a recording"
    return f"{made} by minigrad report. This page is whole by itself: it loads nothing and runs nothing."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
