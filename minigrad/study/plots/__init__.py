"""Plots: a picture for each question about a training, from a recording or its file.

::

    study.plots.update_ratios(recorder.recording, path="ratios.png")
    study.plots.update_ratios({"Adam": "runs/a-1/record.jsonl", "LAMB": "runs/b-1/record.jsonl"}, path="both.svg")

Every function returns its figure. With ``ax=`` it draws there, with ``path=`` it writes a file, in the format of the
suffix. None needs a display, shows a window, or touches pyplot and its backend.
"""

from ._activations import activation_health
from ._curves import losses, metrics, schedule
from ._layers import gradient_flow, trust_ratios, update_ratios
from ._optimizer import clip_ledger, optimizer_state

__all__ = [
    "activation_health",
    "clip_ledger",
    "gradient_flow",
    "losses",
    "metrics",
    "optimizer_state",
    "schedule",
    "trust_ratios",
    "update_ratios",
]
