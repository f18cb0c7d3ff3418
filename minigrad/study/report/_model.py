"""The drawing of the model: rebuilt from a run's files, or the one that a recorder watches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ... import random
from ...autograd.tensor import Tensor
from ...nn.inspection import restoring
from ...recipes.recipe import make_model, problem
from ...training._run_directory import RunDirectory
from ...training.checkpoint import load_weights, read_checkpoint, size_limit
from ..graphs.drawing import Drawing, draw_graph
from ..records.recorder import Recorder
from ._text import number

ROWS = 64  # of the held-out data, on which the model is run


class DrawnModel(NamedTuple):
    """The graph of a model, the rows that it was run on, and when it had these weights."""

    graph: Drawing
    rows: str
    when: str


def draw_trained(directory: RunDirectory, config: Mapping[str, Any]) -> DrawnModel:
    """Draw a run's model with its last weights, on the first held-out rows. Random state is not changed.

    Raises:
        ValueError, OSError: if the model cannot be rebuilt, or the data has changed since.
    """
    arguments = config["arguments"]
    asked = problem(arguments)
    if config["data"] != asked.fingerprint():
        raise ValueError("the data has changed since the run")
    before = random.get_state()  # initial weights are drawn, and replaced below
    try:
        model = make_model(arguments, asked)
    finally:
        random.set_state(before)
    if directory.weights.exists() and directory.ending() is not None:
        load_weights(directory.weights, model)
        when = "at the end"
    else:
        path = directory.last_checkpoint()
        model.load_state_dict(read_checkpoint(path, size_limit(model))["model"])
        when = f"after step {int(path.stem[5:]):,}"
    features = Tensor(asked.held_out.features[:ROWS])
    model.eval()
    return DrawnModel(draw_graph(model, features), f"the first {len(features)} held-out rows", when)


def draw_recorded(recorder: Recorder) -> DrawnModel:
    """Draw the current model of a recorder, on the probe.

    Raises:
        ValueError: if there is no probe.
    """
    if not recorder.probe:
        raise ValueError("the recorder has no probe to run it on")
    with restoring(recorder.model):
        recorder.model.eval()
        probe = [part.to(recorder.optimizer.store.device) for part in recorder.probe]
        return DrawnModel(draw_graph(recorder.model, *probe), f"the {number(len(probe[0]))} rows of the probe", "now")
