"""The findings of a report: from the recording, and from the logs how the run ended and whether it overfits."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...text import plural
from ...training._run_directory import WITHOUT
from ..findings import Finding, findings
from ..findings.finding import FEW_RECORDS, FEW_STEPS, SEVERITIES
from ..records.recording import Recording
from ._run_data import RunData, tensors_of
from ._text import brief, number, sentence

# A run overfits if its held-out loss ends above its lowest by at least the factor OVERFITTING, at least FEW_EPOCHS
# epochs later. If the lowest came in the first half of the epochs, the smaller factor OVERFITTING_LONG is enough.
OVERFITTING, OVERFITTING_LONG, FEW_EPOCHS = 1.25, 1.1, 3
# The means of the logged loss that are judged where nothing was recorded.
LOGGED = 25
REMEDY = "lower the learning rate, start with a warm-up, or clip the gradient"
# The section that shows the subject of each kind of finding. Kinds that are not here are about layers.
SECTION_OF = {
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
    "jumped": "curves",
    "input scale": "activations",
    "no gradient": "gradients",
    "no update": "updates",
    "not finished": "summary",
    "not rectified": "state",
    "overfitting": "curves",
    "plateau": "curves",
    "rising": "curves",
    "saturated units": "activations",
    "still falling": "curves",
    "stopped early": "curves",
    "trust ratio": "trust",
    "updates too large": "updates",
    "updates too small": "updates",
    "vanishing": "gradients",
}


def all_findings(data: RunData) -> list[Finding]:
    """Return all findings of a run, the worst first; within a severity, how the run ended comes first."""
    recording = data.recording or _logged(data)
    found = [*_how_it_ended(data), *(findings(recording) if recording else []), *_overfitting(data)]
    reason = data.ending.reason if data.ending is not None else ""
    if reason:  # the recording may report it too
        found = [each for each in found if each.kind != "not finite" or each.sentence != reason]
    if data.has_diverged:  # the recording reports it too, without knowing that the run was stopped for it
        found = [found[0], *(each for each in found[1:] if each.kind != "diverging")]
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))


def counts(found: Sequence[Finding]) -> str:
    """Return the number of findings of each severity, such as ``"1 error, 2 notes"``."""
    numbers = [(name, sum(each.severity == name for each in found)) for name in SEVERITIES]
    return ", ".join(plural(count, name) for name, count in numbers if count) or "no problem found"


def findings_section(data: RunData, found: Sequence[Finding], places: Collection[str]) -> dict[str, Any]:
    """Every finding with its evidence, and links to the sections in ``places`` that show its subject."""
    items = []
    for each in found:
        panel = None if data.recording is None else panel_of(data.recording, each.layer)
        targets = [(SECTION_OF.get(each.kind, "layers"), None), (panel, each.layer)]
        items.append({
            "severity": each.severity,
            "sentence": sentence(each.sentence),
            "evidence": [(name.replace("_", " "), value) for name, value in each.evidence.items()],
            "links": [(place, layer) for place, layer in targets if place in places],
        })  # fmt: skip
    records = None if data.recording is None else len(data.recording)
    too_few = data.last_step < FEW_STEPS or (records is not None and records < FEW_RECORDS)
    return {"findings": items, "steps": data.last_step, "records": records, "too_few": too_few, "folder": data.folder}


def panel_of(recording: Recording, name: str | None) -> str | None:
    """Return the place of a layer's panel, by the name of the layer, a parameter of it, or an activation after it."""
    if name is None:
        return None
    owners = {tensor: i for i, layer in enumerate(recording.layers) for tensor in tensors_of(recording, layer)}
    owners |= {layer: i for i, layer in enumerate(recording.layers)}
    owner = owners.get(name)
    if owner is None and name in recording.activations:
        before = recording.activations[: recording.activations.index(name)]
        owner = next((owners[each] for each in reversed(before) if each in owners), None)
    return None if owner is None else f"layer-{owner}"


def _logged(data: RunData) -> Recording:
    """The loss in the logs as a recording, from means of equally many steps."""
    parts = np.array_split(np.array([(each.step, each.loss) for each in data.steps], float).reshape(-1, 2), LOGGED)
    means = ((int(part[-1, 0]), float(part[:, 1].mean())) for part in parts if len(part))
    return Recording({"layers": {}}, [{"step": step, "mean_loss": loss, "layers": {}} for step, loss in means])


def _how_it_ended(data: RunData) -> Iterator[Finding]:
    if not data.is_run:
        return
    evidence: dict[str, float] = {"epochs": len(data.rows), "steps": data.last_step}
    if data.epochs is not None:
        evidence["epochs_asked_for"] = data.epochs
    if data.steps:
        evidence["last_loss"] = data.steps[-1].loss
    reason = brief(data.ending.reason) if data.ending else ""
    resume = f"minigrad resume {data.folder} continues it"
    if data.has_diverged:
        evidence |= {"first_loss": data.steps[0].loss, "last_loss": data.rows[-1]["train_loss"]}
        text = (
            f"the loss diverged, and training was given up after epoch {len(data.rows)}: "
            f"{number(evidence['last_loss'])} in that epoch, {number(evidence['first_loss'])} at the first step; "
            f"{REMEDY}"
        )
        yield Finding("error", "diverged", None, text, evidence)
    elif data.state == "diverged":
        text = f"training failed after {data.progress}: {reason}. {sentence(REMEDY)}"
        yield Finding("error", "diverged", None, text, evidence)
    elif data.state == "failed":
        text = f"training failed after {data.progress}: {reason}. Once the cause is fixed, {resume}"
        yield Finding("error", "failed", None, text, evidence)
    elif data.state == "interrupted":
        text = f"training was interrupted {reason} after {data.progress}; {resume}"
        yield Finding("warning", "not finished", None, text, evidence)
    elif data.state is None:
        text = f"the run {WITHOUT}. It has {data.progress}; {resume}"
        yield Finding("warning", "not finished", None, text, evidence)
    elif data.state == "stopped":
        why = reason or f"no progress within --patience {number(data.arguments.get('patience'))}"
        text = f"training was stopped early, after {data.epochs_done}: {_spelled_out(why)}"
        yield Finding("note", "stopped early", None, text, evidence)


def _spelled_out(text: str) -> str:
    """Replace names of metrics, such as ``held_out_loss``, by words."""
    return re.sub(r"\b(held_out|train)_(\w+)", lambda m: f"the {m[1].replace('_', '-')} {m[2].replace('_', ' ')}", text)


def _overfitting(data: RunData) -> Iterator[Finding]:
    """A loss that rises on the held-out data while it falls on the training data."""
    held_out = np.array([row.get("held_out_loss", math.nan) for row in data.rows])
    train = np.array([row.get("train_loss", math.nan) for row in data.rows])
    if len(held_out) <= FEW_EPOCHS or not np.isfinite(held_out).all() or not np.isfinite(train).all():
        return
    best = int(held_out.argmin())
    later = len(held_out) - 1 - best
    end = float(np.median(held_out[-3:]))  # of the last three, since single epochs vary
    falls = train[-1] < train[best] and sum(b < a for a, b in pairwise(train[best:])) > later / 2
    rise = OVERFITTING_LONG if later > len(held_out) / 2 else OVERFITTING
    if later < FEW_EPOCHS or held_out[best] <= 0 or end < rise * held_out[best] or not falls:
        return
    text = (
        f"overfitting: the loss on the held-out data was lowest after epoch {best + 1}, {number(held_out[best])}, and "
        f"is {number(end)} at the end, while the loss on the training data fell from {number(train[best])} to "
        f"{number(train[-1])}; stop earlier (--patience), or use weight decay or dropout"
    )
    evidence = {"lowest": float(held_out[best]), "epoch": best + 1, "at_the_end": end, "train_loss": float(train[-1])}
    yield Finding("note", "overfitting", None, text, evidence)
