"""Tools to see inside: what made a NaN, and what a graph looks like."""

from .anomaly import Anomaly, AnomalyError, detect_anomaly

__all__ = ["Anomaly", "AnomalyError", "detect_anomaly"]
