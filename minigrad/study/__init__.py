"""Study: see what training does inside.

::

    optimizer.watch()                              # keep what a step overwrites
    ...                                            # a step
    print(optimizer.explain("0.weight", (3, 7)))   # every term of what it did to one weight

    with study.Recorder(model, optimizer) as recorder:
        ...                                        # the loop
    for finding in study.findings(recorder.recording):
        print(finding)

    with study.detect_anomaly():                   # the first operation that makes NaN or infinity is named
        ...
    study.draw_graph(model, x).save("graph.svg")
"""

from . import plots
from .algorithm import Algorithm, explain
from .anomaly import Anomaly, AnomalyError
from .detection import detect_anomaly
from .drawing import Drawing, draw_graph
from .explanation import Check, Explanation, Term
from .findings import Finding, findings
from .recorder import Recorder
from .recording import Recording, RecordingError
from .report import report
from .trace import trace

__all__ = [
    "Algorithm",
    "Anomaly",
    "AnomalyError",
    "Check",
    "Drawing",
    "Explanation",
    "Finding",
    "Recorder",
    "Recording",
    "RecordingError",
    "Term",
    "detect_anomaly",
    "draw_graph",
    "explain",
    "findings",
    "plots",
    "report",
    "trace",
]
