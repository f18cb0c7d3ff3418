"""Tools to see inside: what an update did, what made a NaN, and what a graph looks like."""

from .algorithm import Algorithm, explain
from .anomaly import Anomaly, AnomalyError
from .detection import detect_anomaly
from .drawing import Drawing, draw_graph
from .explanation import Check, Explanation, Term
from .trace import trace

__all__ = [
    "Algorithm",
    "Anomaly",
    "AnomalyError",
    "Check",
    "Drawing",
    "Explanation",
    "Term",
    "detect_anomaly",
    "draw_graph",
    "explain",
    "trace",
]
