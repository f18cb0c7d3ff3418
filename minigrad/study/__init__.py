"""Study: explain updates, record training, find and plot problems, locate NaN, draw graphs and sweep settings.

::

    optimizer.watch()                              # keep what a step overwrites
    optimizer.step()
    print(optimizer.explain("0.weight", (3, 7)))   # every term of what it did to one weight

    with study.Recorder(model, optimizer) as recorder:
        ...                                        # the loop
    for finding in study.findings(recorder.recording):
        print(finding)

    with study.detect_anomaly():                   # the first operation that makes NaN or infinity is named
        ...
    study.draw_graph(model, x).save("graph.svg")

    found = study.sweep(["SGD", "Adam"], lr="1e-4..1:9", seeds=5)
    print(*found.results.verdicts(), sep="\\n")       # which of them cannot be told apart, each at its best rate

    print(study.curvature(model, (x, y), nn.functional.cross_entropy, optimizer=optimizer))  # and its threshold
"""

from ..anomalies import Anomaly, AnomalyError, detect_anomaly
from . import plots
from .curvature import Curvature, Density, Estimate, Hessian, Stability, curvature, stability
from .explanations import Algorithm, Check, Explanation, Term, explain
from .findings import Finding, findings
from .graphs.drawing import Drawing, draw_graph
from .graphs.trace import trace
from .records.recorder import Recorder
from .records.recording import Recording, RecordingError
from .report import report
from .sweeps import Sweep, load_sweep, sweep

__all__ = [
    "Algorithm",
    "Anomaly",
    "AnomalyError",
    "Check",
    "Curvature",
    "Density",
    "Drawing",
    "Estimate",
    "Explanation",
    "Finding",
    "Hessian",
    "Recorder",
    "Recording",
    "RecordingError",
    "Stability",
    "Sweep",
    "Term",
    "curvature",
    "detect_anomaly",
    "draw_graph",
    "explain",
    "findings",
    "load_sweep",
    "plots",
    "report",
    "stability",
    "sweep",
    "trace",
]
