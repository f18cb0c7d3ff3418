"""What to say about a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The text of an error about an unknown ``name``: the nearest known name, or all of them if none is near.

    >>> unknown("dataset", "digit", ["digits", "moons"])
    "unknown dataset 'digit'; did you mean 'digits'?"
    >>> unknown("dataset", "cats", ["digits", "moons"])
    "unknown dataset 'cats'; known are digits, moons"
    """
    spelt = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), spelt, n=3, cutoff=0.6)
    near.sort(key=lambda each: sorted(each) != sorted(name.lower()))  # those with the same letters first
    remedy = f"did you mean {spelt[near[0]]!r}?" if near else f"known are {', '.join(spelt.values())}"
    return f"unknown {kind} {name!r}; {remedy}"
