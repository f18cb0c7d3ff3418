"""Plots: a picture for each question about a training, from a recording or its file, or about a sweep.

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
from ._sweeps import heat_map, learning_curves, performance_profiles, sensitivity, time_to_target

__all__ = [
    "activation_health",
    "clip_ledger",
    "gradient_flow",
    "heat_map",
    "learning_curves",
    "losses",
    "metrics",
    "optimizer_state",
    "performance_profiles",
    "schedule",
    "sensitivity",
    "time_to_target",
    "trust_ratios",
    "update_ratios",
]
