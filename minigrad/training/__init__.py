"""Training: the loop with metrics, schedules and callbacks, checkpoints, and run directories.

>>> train, held_out = data.stratified_split(data.moons(), 0.2, seed=0)
>>> loader = data.DataLoader(train, batch_size=32, shuffle=True, seed=0)
>>> model = nn.MLP([2, 16, 2])
>>> optimizer = optim.Adam(model.parameters(), lr=0.01)
>>> run = training.fit(
...     model, optimizer, loader, epochs=3, evaluate=held_out, metrics={"accuracy": training.correct},
...     callbacks=[training.RunLog("run"), training.Checkpoints("run/checkpoints"), training.EarlyStopping(5)],
... )
>>> [path.name for path in training.checkpoints("run/checkpoints")]
['step-000000010.safetensors', 'step-000000015.safetensors']
"""

from .callbacks import DivergedError, EarlyStopping, OnEpoch, StopIfDiverged
from .checkpoint import (
    CheckpointError,
    Checkpoints,
    checkpoints,
    load_checkpoint,
    load_weights,
    read_checkpoint,
    save_checkpoint,
    save_weights,
)
from .evaluation import correct, evaluate, metric
from .logs import RunLog
from .loop import fit, train
from .nonfinite import NonFiniteLossError
from .progress import Progress
from .run import Callback, Run, Stretch
from .tensorfile import TensorFileError, read_tensors, write_tensors

__all__ = [
    "Callback",
    "CheckpointError",
    "Checkpoints",
    "DivergedError",
    "EarlyStopping",
    "NonFiniteLossError",
    "OnEpoch",
    "Progress",
    "Run",
    "RunLog",
    "StopIfDiverged",
    "Stretch",
    "TensorFileError",
    "checkpoints",
    "correct",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_weights",
    "metric",
    "read_checkpoint",
    "read_tensors",
    "save_checkpoint",
    "save_weights",
    "train",
    "write_tensors",
]
