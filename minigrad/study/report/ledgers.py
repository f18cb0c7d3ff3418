"""The ledgers: what clips took away, and what trust ratios did to each tensor's step."""

from __future__ import annotations

from functools import partial

import numpy as np

from ...text import plural
from .. import plots
from ..records.clip_counts import LISTED
from ..records.recording import Recording
from .layers import ROWS
from .markup import Html, Part, folded, join, table
from .pictures import picture
from .sections import Section
from .wording import brief, number, share

PICTURES = 4  # clips that have one


def clips_section(recording: Recording, drawn: Recording) -> Section | None:
    """Every clip: how often it acted, and how much it took away."""
    count = max(len(record.get("clips", [])) for record in recording.records)
    if not count:
        return None
    rows: list[list[Part]] = []
    shown: list[Html] = []
    for clip in range(count):
        entries = recording.clips(clip)
        last = entries[-1]
        before, after, factor = (
            np.median([e[name] for e in entries]) for name in ("norm_before", "norm_after", "factor")
        )
        limits = ", ".join(f"{brief(name)} {number(value)}" for name, value in last["thresholds"].items())
        acted = (
            f"{share(last['acted_steps'], last['steps'])} ({number(last['acted_steps'])} of {number(last['steps'])}"
            f"{' recorded' if last.get('sampled') else ''})"
        )
        rows.append(
            [brief(last["title"]), brief(last["scope"]), limits, acted, number(before), number(after), number(factor)]
        )
        if clip < PICTURES:
            alt = (
                f"Line chart of the gradient norm before and after {brief(last['title'])} ({limits}), which acted on "
                f"{acted} steps; median {number(before)} before, {number(after)} after."
            )
            caption = (
                "The norm before and after the clip, what is cut away shaded; the strip at the lower end is the share "
                "of steps in which it acted."
            )
            shown.append(picture(partial(plots.clip_ledger, drawn, clip), alt, caption))
        if "by_range" in last:
            shown.append(_by_range(last))
    headings = ["clip", "per", "threshold", "acted on steps", "norm before", "norm after", "factor"]
    caption = (
        "Clips in their order; norms and factor are medians over the records, of the range that was clipped hardest"
    )
    ledger = table(caption, headings, rows, words=4)
    return Section(
        "clips", "Clip ledger", "How often does clipping act, and how much does it take away?", join(ledger, *shown)
    )


def _by_range(last: dict[str, object]) -> Html:
    ranges = last["by_range"]
    if not isinstance(ranges, dict):
        return Html("")
    rows = [
        [brief(name), *(number(value) for value in values[:3])]
        for name, values in list(ranges.items())[:LISTED]
        if isinstance(values, list)
    ]
    caption = f"{brief(last['title'])} at step {number(last['step'])}, each {brief(last['scope'])}"
    return folded(
        f"Each {brief(last['scope'])} at the last record",
        table(caption, [brief(last["scope"]), "norm before", "norm after", "factor"], rows),
    )


def trust_section(recording: Recording, drawn: Recording) -> Section | None:
    """The trust ratio of every tensor."""
    ratios = recording.trust_ratios()
    if not ratios:
        return None
    clamps: dict[str, int] = dict.fromkeys(ratios, 0)
    for record in recording.records:
        for layer in record["layers"].values():
            for name, trust in layer.get("trust", {}).items():
                clamps[name] += bool(trust.get("clamped"))
    rows: list[list[Part]] = []
    for name, values in list(ratios.items())[:ROWS]:
        known = values[np.isfinite(values)]
        least, middle, most = (float(f(known)) if known.size else np.nan for f in (np.min, np.median, np.max))
        clamped = f"{clamps[name]} of {len(values)}" if clamps[name] else ""
        rows.append([brief(name), number(least), number(middle), number(most), number(values[-1]), clamped])
    everything = np.concatenate([values[np.isfinite(values)] for values in ratios.values()])
    reach = (
        f"from {number(everything.min())} to {number(everything.max())}" if everything.size else "none of them finite"
    )
    alt = f"Line chart of the trust ratios of {plural(len(ratios), 'tensor')}, {reach}."
    shown = picture(
        lambda: plots.trust_ratios(drawn),
        alt,
        "By how much the step of each tensor is lengthened or shortened: 1 leaves it.",
    )
    headings = ["tensor", "least", "median", "most", "last", "norm clamped in"]
    kept = [i for i in range(len(headings)) if i < 5 or any(row[i] for row in rows)]
    ledger = table(
        "Trust ratios over the records", [headings[i] for i in kept], [[row[i] for i in kept] for row in rows]
    )
    return Section("trust", "Trust ledger", "How does the trust ratio change each tensor's step?", join(shown, ledger))
