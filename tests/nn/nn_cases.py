"""Every layer and loss once or more, described so that minigrad and PyTorch can both be asked for it.

`draw` makes the inputs, parameters and upstream gradients of a case from only its name, in float64.
"""

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[tuple[Any, ...], ...] = ()
    training: bool = True
    paired: bool = False  # the inputs after the first are one tuple, as for LSTM


def normal(*shape):
    return ("normal", shape)


def labels(*shape, classes, ignored=False):
    return ("labels", shape, classes, ignored)


def probabilities(*shape):
    return ("probabilities", shape)


def simplex(*shape):
    return ("simplex", shape)


WEIGHT = [0.5, 2.0, 1.25, 0.75]
RECURRENT = [
    *[
        Case(f"{kind}-{name}", kind, args, options, inputs, training=False, paired=kind == "LSTM")
        for kind in ("RNN", "GRU", "LSTM")
        for name, args, options, inputs in [
            ("plain", (3, 2), {}, (normal(4, 2, 3),)),
            ("unbatched", (3, 2), {}, (normal(4, 3),)),
            ("no-bias", (3, 2), {"bias": False}, (normal(2, 2, 3),)),
            ("batch-first", (3, 2), {"batch_first": True}, (normal(2, 4, 3),)),
            ("deep", (2, 2), {"num_layers": 2, "bidirectional": True, "dropout": 0.5}, (normal(3, 2, 2),)),
        ]
    ],
    Case("RNN-relu", "RNN", (3, 2), {"nonlinearity": "relu"}, (normal(3, 2, 3),)),
    Case("RNN-state", "RNN", (3, 2), {"batch_first": True}, (normal(2, 3, 3), normal(1, 2, 2))),
    Case("GRU-state", "GRU", (3, 2), {"bidirectional": True}, (normal(3, 2, 3), normal(2, 2, 2))),
    Case("LSTM-state", "LSTM", (3, 2), {}, (normal(3, 2, 3), normal(1, 2, 2), normal(1, 2, 2)), paired=True),
    Case("LSTM-unbatched-state", "LSTM", (3, 2), {}, (normal(3, 3), normal(1, 2), normal(1, 2)), paired=True),
]
LAYERS = [
    Case("Linear", "Linear", (3, 4), {}, (normal(5, 3),)),
    Case("Linear-one-example", "Linear", (3, 4), {}, (normal(3),)),
    Case("Linear-many-axes", "Linear", (3, 4), {"bias": False}, (normal(2, 2, 3),)),
    Case("Flatten", "Flatten", (), {}, (normal(2, 3, 2),)),
    Case("Flatten-middle", "Flatten", (1, 2), {}, (normal(2, 3, 2, 2),)),
    Case("Identity", "Identity", (), {}, (normal(2, 3),)),
    Case("ReLU", "ReLU", (), {}, (normal(3, 4),)),
    Case("ReLU6", "ReLU6", (), {}, (normal(3, 4),)),
    Case("LeakyReLU", "LeakyReLU", (0.25,), {}, (normal(3, 4),)),
    Case("ELU", "ELU", (0.75,), {}, (normal(3, 4),)),
    Case("GELU", "GELU", (), {}, (normal(3, 4),)),
    Case("GELU-tanh", "GELU", (), {"approximate": "tanh"}, (normal(3, 4),)),
    Case("SiLU", "SiLU", (), {}, (normal(3, 4),)),
    Case("Sigmoid", "Sigmoid", (), {}, (normal(3, 4),)),
    Case("Tanh", "Tanh", (), {}, (normal(3, 4),)),
    Case("Softplus", "Softplus", (), {}, (normal(3, 4),)),
    Case("Softplus-options", "Softplus", (2.0, 1.5), {}, (normal(3, 4),)),
    Case("Softmax", "Softmax", (), {"axis": 0}, (normal(3, 4),)),
    Case("LogSoftmax", "LogSoftmax", (), {"axis": -1}, (normal(3, 4),)),
    Case("Dropout-eval", "Dropout", (0.5,), {}, (normal(3, 4),), training=False),
    Case("LayerNorm", "LayerNorm", (4,), {}, (normal(3, 4),)),
    Case("LayerNorm-axes", "LayerNorm", ((2, 3),), {"eps": 0.01}, (normal(2, 2, 3),)),
    Case("LayerNorm-plain", "LayerNorm", (4,), {"elementwise_affine": False}, (normal(3, 4),)),
    Case("LayerNorm-no-bias", "LayerNorm", (4,), {"bias": False}, (normal(3, 4),)),
    Case("RMSNorm", "RMSNorm", (4,), {}, (normal(3, 4),)),
    Case("RMSNorm-axes", "RMSNorm", ((2, 3),), {"eps": 0.01}, (normal(2, 2, 3),)),
    Case("RMSNorm-plain", "RMSNorm", (4,), {"elementwise_affine": False}, (normal(3, 4),)),
    Case("BatchNorm1d", "BatchNorm1d", (3,), {}, (normal(4, 3),)),
    Case("BatchNorm1d-eval", "BatchNorm1d", (3,), {}, (normal(4, 3),), training=False),
    Case("BatchNorm1d-length", "BatchNorm1d", (3,), {"momentum": 0.25, "eps": 0.01}, (normal(2, 3, 2),)),
    Case("BatchNorm1d-length-eval", "BatchNorm1d", (3,), {}, (normal(2, 3, 2),), training=False),
    Case("BatchNorm1d-average", "BatchNorm1d", (3,), {"momentum": None, "affine": False}, (normal(4, 3),)),
    Case("BatchNorm1d-untracked", "BatchNorm1d", (3,), {"track_running_stats": False}, (normal(4, 3),), training=False),
    Case("Embedding", "Embedding", (5, 3), {}, (labels(2, 6, classes=5),)),
    Case("Embedding-padding", "Embedding", (5, 3), {"padding_idx": -4}, (labels(8, classes=5),)),
]
LOSSES = [
    *[
        Case(f"{kind}-{reduction}", kind, (), {"reduction": reduction, **options}, inputs)
        for reduction in ("mean", "sum", "none")
        for kind, options, inputs in [
            ("MSELoss", {}, (normal(3, 4), normal(3, 4))),
            ("L1Loss", {}, (normal(3, 4), normal(3, 4))),
            ("HuberLoss", {"delta": 0.5}, (normal(3, 4), normal(3, 4))),
            ("SmoothL1Loss", {"beta": 0.5}, (normal(3, 4), normal(3, 4))),
            ("BCELoss", {"weight": WEIGHT}, (probabilities(3, 4), probabilities(3, 4))),
            ("BCEWithLogitsLoss", {"weight": WEIGHT, "pos_weight": WEIGHT[::-1]}, (normal(3, 4), probabilities(3, 4))),
            ("NLLLoss", {"weight": WEIGHT, "ignore_index": 1}, (normal(6, 4), labels(6, classes=4))),
        ]
    ],
    *[
        Case(
            "-".join(filter(None, ["CrossEntropyLoss", reduction, w and "weighted", s and "smooth", shape, soft])),
            "CrossEntropyLoss",
            (),
            {"reduction": reduction, "label_smoothing": s, **({"weight": WEIGHT} if w else {})},
            (
                normal(*shapes[0]),
                simplex(*shapes[0]) if soft else labels(*shapes[1], classes=4, ignored=bool(shapes[1])),
            ),
        )
        for reduction in ("mean", "sum", "none")
        for w in (False, True)
        for s in (0.0, 0.25)
        for soft in ("", "soft")
        for shape, shapes in [("", ((6, 4), (6,))), ("one", ((4,), ())), ("deep", ((2, 4, 3), (2, 3)))]
        if not (shape and reduction == "sum")
    ],
]
CASES = {case.name: case for case in [*LAYERS, *RECURRENT, *LOSSES]}


def generator(case):
    return np.random.default_rng(zlib.crc32(case.name.encode()))


def draw_inputs(case):
    rng = generator(case)
    return [_draw(rng, *what) for what in case.inputs]


def _draw(rng, what, shape, *rest):
    if what == "normal":
        return rng.standard_normal(shape) * 1.5
    if what == "probabilities":
        return rng.uniform(0.05, 0.95, shape)
    if what == "simplex":
        values = rng.uniform(0.1, 1.0, shape)
        return values / values.sum(axis=min(len(shape), 2) - 1, keepdims=True)
    classes, ignored = rest
    drawn = np.asarray(rng.integers(classes, size=shape))
    if ignored:
        drawn.flat[1] = -100
    return drawn


def draw_state(case, shapes):
    """Values for parameters and buffers of the given shapes by name."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()) + 1)
    state = {}
    for name, shape in shapes.items():
        if name == "num_batches_tracked":
            state[name] = np.array(3)
        elif name == "running_var":
            state[name] = rng.uniform(0.5, 2.0, shape)
        else:
            state[name] = rng.standard_normal(shape) * 0.7
    return state


def draw_upstream(case, outputs):
    """A random gradient for each output."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()) + 2)
    return [rng.standard_normal(np.shape(out)) for out in outputs]
