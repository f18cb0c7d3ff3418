"""The section that shows the model: its computational graph on a few rows of data, a box for each layer."""

from __future__ import annotations

from collections.abc import Callable

from ...text import plural
from ..graphs.drawing import Drawing
from .markup import Html, folded, join, readable, tag
from .pictures import LARGEST_SVG, data_url
from .rebuilt import Drawn
from .sections import Section


def model_section(draw: Callable[[], Drawn] | None) -> Section:
    """The graph of the model, or why there is none.

    Args:
        draw: draws it; ``None`` where there is no model.
    """
    question = "What is computed, from the input to the output?"
    if draw is None:
        told = "A recording alone holds no model. A report of a run directory or of a Recorder has its graph here."
        return Section("model", "The model", question, tag("p", told))
    try:
        drawing, caption = draw()
    except Exception as error:  # whatever keeps it from being drawn, the page is about the rest too
        reason = " ".join(str(error).split()) or type(error).__name__
        return Section("model", "The model", question, tag("p", f"The model could not be drawn: {reason}."))
    return Section("model", "The model", question, _shown(drawing, caption))


def _shown(drawing: Drawing, caption: str) -> Html:
    text = folded("The same as text", tag("div", tag("pre", drawing.text), class_="scroll", tabindex=0))
    data = readable(drawing.svg).encode()
    if len(data) > LARGEST_SVG:
        return join(
            tag("p", f"Its graph is too large for this page, {plural(len(drawing.boxes), 'box', 'boxes')}."), text
        )
    layers = [box.title for box in drawing.boxes if box.kind == "layer"]
    alt = f"Graph of the model from its input at the top to its output: {', '.join(layers) or 'operations'}."
    picture = tag("img", src=data_url("svg+xml", data), alt=alt)
    frame = tag("div", picture, class_="scroll", tabindex=0, role="group", aria_label=caption)
    return join(tag("figure", frame, tag("figcaption", caption), class_="graph"), text)
