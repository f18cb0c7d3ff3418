"""Tools to see inside: what made a NaN, and what a graph looks like."""

from .anomaly import Anomaly, AnomalyError
from .detection import detect_anomaly
from .drawing import Drawing, draw_graph
from .trace import trace

__all__ = ["Anomaly", "AnomalyError", "Drawing", "detect_anomaly", "draw_graph", "trace"]
