"""Anomalies: find the operation that made the first NaN or infinity."""

from .anomaly import Anomaly, AnomalyError
from .detection import detect_anomaly

__all__ = ["Anomaly", "AnomalyError", "detect_anomaly"]
