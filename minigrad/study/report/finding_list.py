"""The section that comes first: the findings, each with its evidence and where to look."""

from __future__ import annotations

from collections.abc import Sequence

from ...text import plural
from ..findings import Finding
from ..findings.finding import FEW_RECORDS, FEW_STEPS
from .markup import Html, Part, bullets, join, link, tag, terms
from .sections import Section
from .source import Source, tensors_of
from .wording import brief, number, powers

# Where the page shows what a finding is about.
PLACES = {
    "clamped": "trust",
    "clipping": "clips",
    "dead units": "activations",
    "decay": "updates",
    "diverged": "curves",
    "diverging": "curves",
    "exploding": "gradients",
    "failed": "summary",
    "gradients add up": "gradients",
    "initial scale": "activations",
    "input scale": "activations",
    "left out": "layers",
    "no gradient": "gradients",
    "no update": "updates",
    "not finished": "summary",
    "not rectified": "state",
    "overfitting": "curves",
    "plateau": "curves",
    "saturated units": "activations",
    "stopped early": "curves",
    "updates too large": "updates",
    "updates too small": "updates",
    "vanishing": "gradients",
}
LOOKED_AT = "how the run ended and its metrics"
RECORDED = (
    ", numbers that are not finite, the loss, dead and saturated units, initial scales, weights and gradients that "
    "explode or vanish, layers that stand still, the size of updates, clipping, decay and trust ratios"
)
SHOWN_FINDINGS = 60


def findings_section(source: Source, found: Sequence[Finding], places: set[str]) -> Section:
    """Every finding with its evidence, and where to look; or that there is none."""
    if not found:
        looked_at = LOOKED_AT + (RECORDED if source.recording else "")
        body = tag("p", f"Nothing stands out. Looked at: {looked_at}.{_too_few(source)}", class_="fine")
    else:
        left = len(found) - SHOWN_FINDINGS
        body = join(
            bullets((_finding(source, each, places) for each in found[:SHOWN_FINDINGS]), class_="findings"),
            tag("p", f"{plural(left, 'more finding')} left out.") if left > 0 else None,
        )
    if source.recording is None:
        body = join(body, _no_recording(source))
    return Section("findings", "Findings", "What stands out, the worst first?", body)


def _too_few(source: Source) -> str:
    """What a recording is too short to tell."""
    records = FEW_RECORDS if source.recording is None else len(source.recording)
    if source.last_step >= FEW_STEPS and records >= FEW_RECORDS:
        return ""
    held = plural(source.last_step, "step") + (f" and {plural(records, 'record')}" if source.recording else "")
    return f" But {held} are too few to tell a trend."


def _finding(source: Source, finding: Finding, places: set[str]) -> Html:
    evidence = [(name.replace("_", " "), number(value)) for name, value in finding.evidence.items()]
    targets = [(PLACES.get(finding.kind, "layers"), None), (layer_place(source, finding.layer), finding.layer)]
    titles = {"clips": "clip ledger", "trust": "trust ledger", "state": "optimizer state"}
    links: list[Part] = [
        link(place, f"layer {brief(layer)}" if layer is not None else titles.get(place, place))
        for place, layer in targets
        if place is not None and place in places
    ]
    between: list[Part] = [part for each in links for part in (each, ", ")][:-1]
    return join(
        tag("p", tag("strong", finding.severity, class_=f"mark {finding.severity}"), " ", _sentence(finding.sentence)),
        terms(evidence, class_="evidence") if evidence else None,
        tag("p", "See ", *between, class_="see") if links else None,
    )


def _sentence(text: str) -> str:
    text = powers(" ".join(text.split()))
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _no_recording(source: Source) -> Html:
    again = f"minigrad train --config {source.place}/config.json --record"
    return tag(
        "div",
        tag("h3", "There is no recording of this run"),
        tag(
            "p",
            "What went on inside the layers was not written down: no gradients, updates, activations, clips or trust "
            "ratios. Record the next training with ",
            tag("code", "minigrad train --record"),
            "; the same run again, with a recording, is ",
            tag("code", again),
            ". Recording changes no bit of the training.",
        ),
        class_="hint",
    )


def layer_place(source: Source, name: str | None) -> str | None:
    """The place of the panel of a layer, of the layer that owns a parameter, or of the one before an activation."""
    if source.recording is None or name is None:
        return None
    layers = source.recording.layers
    owners = {tensor: i for i, layer in enumerate(layers) for tensor in tensors_of(source, layer)}
    owners |= {layer: i for i, layer in enumerate(layers)}
    if name not in owners:
        before = None
        for activation in source.recording.activations:
            before = owners.get(activation, before)
            if activation == name:
                return None if before is None else f"layer-{before}"
    return f"layer-{owners[name]}" if name in owners else None
