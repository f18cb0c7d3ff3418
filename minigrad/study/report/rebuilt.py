"""The model of a run, built again from its files, or that of a recorder, as a drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from ... import random
from ...autograd.tensor import Tensor
from ...nn._restoring import restoring
from ...training.architecture import make_model
from ...training.checkpoint import load_weights, read_checkpoint, size_limit
from ...training.recipe import Recipe, problem
from ...training.run_directory import RunDirectory
from ..graphs.drawing import Drawing, draw_graph
from ..records.recorder import Recorder
from .wording import number

ROWS = 64  # of the data, on which the model is run


class Drawn(NamedTuple):
    """A model as a picture, and what it was run on with which weights."""

    drawing: Drawing
    caption: str


def of_run(directory: RunDirectory, config: Mapping[str, Any]) -> Drawn:
    """The model of a run as its last checkpoint has it, on the first rows held out; random numbers stay as they are.

    Raises:
        ValueError, OSError: if the model cannot be built again, or the data is not what it was.
    """
    arguments = config["arguments"]
    names = {each.name for each in fields(Recipe)} & {"data", "model", "loss", "dtype"}
    recipe = Recipe(**{name: arguments[name] for name in names if name in arguments})
    asked = problem(recipe)
    if config["data"] != asked.fingerprint():
        raise ValueError("the data of the run was other data than there is now")
    before = random.get_state()
    try:
        model = make_model(recipe.model, asked.inputs, asked.outputs, asked.train.name)
    finally:
        random.set_state(before)
    if recipe.dtype == "float64":
        model.double()
    if directory.weights.exists() and directory.ending() is not None:
        load_weights(directory.weights, model)
        when = "at the end"
    else:
        path = directory.last_checkpoint()
        model.load_state_dict(read_checkpoint(path, size_limit(model))["model"])
        when = f"after step {int(path.stem[5:]):,}"
    features = Tensor(asked.held_out.features[:ROWS])
    model.eval()
    return Drawn(draw_graph(model, features), _caption(f"the first {len(features)} rows held out", when))


def of_recorder(recorder: Recorder) -> Drawn:
    """The model that is recorded, as it is now, on the probe.

    Raises:
        ValueError: if there is no probe.
    """
    if not recorder.probe:
        raise ValueError("the recorder has no probe to run it on")
    with restoring(recorder.model):
        recorder.model.eval()
        probe = [part.to(recorder.optimizer.store.device) for part in recorder.probe]
        return Drawn(draw_graph(recorder.model, *probe), _caption(f"{number(len(probe[0]))} rows of the probe", "now"))


def _caption(rows: str, when: str) -> str:
    return (
        f"Each box is a layer, with the shape and the range of what comes out of it for {rows}, and its parameters, "
        f"with the weights as they are {when}."
    )
