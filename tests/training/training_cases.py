"""Small runs for the tests of training: every optimizer, every scheduler, with and without what else has state."""

import numpy as np

from minigrad import clipping, data, manual_seed, nn, optim, schedulers, training

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "SGD plain": lambda p: optim.SGD(p, lr=0.05, clip=clipping.by_global_norm(0.5)),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.05, lr_decay=0.01),
    "Adadelta": lambda p: optim.Adadelta(p, lr=1.0),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.003, momentum=0.9, centered=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01, clip=[clipping.adaptive(0.05), clipping.by_value(0.1)]),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "RAdam": lambda p: optim.RAdam(p, lr=0.01),
    "AdaBelief": lambda p: optim.AdaBelief(p, lr=0.01),
    "Lion": lambda p: optim.Lion(p, lr=0.001),
    "LAMB": lambda p: optim.LAMB(p, lr=0.01, weight_decay=0.01),
    "LARS": lambda p: optim.LARS(p, lr=1.0, weight_decay=0.01),
    "Lookahead": lambda p: optim.Lookahead(optim.SGD(p, lr=0.1, momentum=0.9), k=3),
    "Lookahead reset": lambda p: optim.Lookahead(optim.Adam(p, lr=0.01), k=4, momentum="reset"),
    "Lookahead pullback": lambda p: optim.Lookahead(optim.Adam(p, lr=0.01), k=2, momentum="pullback"),
}

S = schedulers
SCHEDULERS = {
    "none": lambda o: None,
    "StepLR": lambda o: S.StepLR(o, 3, 0.7),
    "MultiStepLR": lambda o: S.MultiStepLR(o, [2, 5, 9], 0.5),
    "ConstantLR": lambda o: S.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o: S.LinearLR(o, 0.2, 1.0, 7),
    "ExponentialLR": lambda o: S.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: S.PolynomialLR(o, 12, 2.0),
    "CosineAnnealingLR": lambda o: S.CosineAnnealingLR(o, 12),
    "CosineAnnealingWarmRestarts": lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2),
    "LambdaLR": lambda o: S.LambdaLR(o, lambda t: 1 / (1 + t)),
    "MultiplicativeLR": lambda o: S.MultiplicativeLR(o, lambda t: 0.95),
    "CyclicLR": lambda o: S.CyclicLR(o, 0.001, 0.01, step_size_up=3, cycle_momentum=False),
    "OneCycleLR": lambda o: S.OneCycleLR(o, 0.05, total_steps=40, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: S.ReduceLROnPlateau(o, "max", patience=0, threshold=0.2),
    "WarmupStableDecay": lambda o: S.Scheduler(o, S.WarmupStableDecay(3, 4, 5)),
    "InverseSqrt": lambda o: S.Scheduler(o, S.InverseSqrt(4)),
    "SequentialLR": lambda o: S.SequentialLR(o, [S.LinearLR(o), S.ExponentialLR(o, 0.8)], [4]),
    "ChainedScheduler": lambda o: S.ChainedScheduler([S.LinearLR(o), S.ExponentialLR(o, 0.8)]),
    "two of them": lambda o: [S.StepLR(o, 2), S.Scheduler(o, S.Linear(1.0, 0.5, 6), option="weight_decay")],
}


def blobs():
    return data.stratified_split(data.blobs(samples=60), 0.25, 0)


class Case:
    """A run that can be made any number of times; dropout and batch normalization give it random and buffer state.

    ``go`` trains up to an epoch, or stops after a number of steps.
    """

    def __init__(
        self, folder, optimizer="Adam", scheduler="none", every="epoch", accumulate=1, dropout=0.2, save_every=None,
        compiled=True, keep=2,
    ):  # fmt: skip
        folder.mkdir(exist_ok=True)
        train, held_out = blobs()
        manual_seed(3)
        self.model = nn.MLP([2, 8, 3], dropout=dropout, norm="batch")
        self.loader = data.DataLoader(train, batch_size=10, shuffle=True, seed=1)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.scheduler = SCHEDULERS[scheduler](self.optimizer)
        self.folder, self.checkpoints = folder, training.Checkpoints(folder / "checkpoints", save_every, keep)
        self.settings = {
            "evaluate": held_out,
            "metrics": {"accuracy": training.correct},
            "scheduler": self.scheduler,
            "scheduler_every": every,
            "accumulate": accumulate,
            "compiled": compiled,
        }

    def go(self, epochs, stop_after=None, resume=None, callbacks=()):
        # A saved run and the one that resumes from it have the same callbacks.
        log = [training.RunLog(self.folder), *callbacks, StopAfter(stop_after)]
        self.run = training.fit(
            self.model,
            self.optimizer,
            self.loader,
            epochs,
            callbacks=[*log, self.checkpoints],
            resume=resume,
            **self.settings,
        )
        return self.run

    def files(self):
        return [(self.folder / name).read_bytes() for name in ("steps.jsonl", "metrics.csv")]

    def last(self):
        return training.checkpoints(self.folder / "checkpoints")[-1]


class StopAfter(training.Callback):
    def __init__(self, step):
        self.step = step

    def after_step(self, run):
        if self.step == run.progress.step:
            run.stop("a test asked for it")

    def stretch(self, run):
        return None if self.step is None else max(self.step - run.progress.step, 1)

    def after_stretch(self, run, steps):
        self.after_step(run)


def same(a, b):
    """Whether two states are equal to the bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and (a == b or a != a)
