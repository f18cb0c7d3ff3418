"""What a `study.Recorder` costs at its default interval: MLP 64-32-10 on the digits, batch 32.

The same model is trained with and without it, by turns of one interval each, which holds one record; each turn is
compared with its neighbour, so that what else the machine does falls on both alike. Both models end with the same bits.

    python -m benchmarks.recorder_overhead [--turns N] [--output FILE]
"""

import argparse
import itertools
import time

import numpy as np

from benchmarks.timing import report
from minigrad import clipping, data, manual_seed, nn, optim, study
from minigrad.study.recorder import EVERY

OPTIMIZERS = {
    "Adam": lambda p: optim.Adam(p, lr=1e-3),
    "SGD with momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "AdamW, clipped by global norm": lambda p: optim.AdamW(p, lr=1e-3, clip=clipping.by_global_norm(1.0)),
    "LAMB": lambda p: optim.LAMB(p, lr=1e-4),
}


class Loop:
    """A training that goes on by so many steps at a time."""

    def __init__(self, make, features):
        manual_seed(0)
        self.model = nn.MLP([64, 32, 10])
        self.optimizer = make(self.model.parameters())
        self.batches = itertools.cycle(features)

    def go(self, steps):
        model, optimizer, start = self.model, self.optimizer, time.perf_counter()
        for x, y in itertools.islice(self.batches, steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return (time.perf_counter() - start) / steps * 1e6


def measure(name, turns):
    train, _ = data.stratified_split(data.load_digits(), 0.2, 0)
    batches = list(data.DataLoader(train, batch_size=32, shuffle=True, seed=0))
    bare, recorded = Loop(OPTIMIZERS[name], batches), Loop(OPTIMIZERS[name], batches)
    with study.Recorder(recorded.model, recorded.optimizer, probe=train.features[:128]) as recorder:
        pairs = [(bare.go(EVERY), recorded.go(EVERY)) for _ in range(turns + 1)][1:]
    for mine, other in zip(bare.model.parameters(), recorded.model.parameters(), strict=True):
        assert mine.data.tobytes() == other.data.tobytes(), "recording has changed the training"
    without, with_it = np.median(pairs, 0)
    return {
        "optimizer": name,
        "step, us": float(without),
        "recorded, us": float(with_it),
        "overhead, %": float(np.median([b / a - 1 for a, b in pairs]) * 100),
        "records": len(recorder.recording),
        "recorder says, %": recorder.cost.spent / recorder.cost.steps * 1e8 / float(without),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--output", help="a JSON file for the results")
    chosen = parser.parse_args()
    rows = [measure(name, chosen.turns) for name in OPTIMIZERS]
    command = f"python -m benchmarks.recorder_overhead --turns {chosen.turns}"
    report(f"A recorder at its default interval of {EVERY} steps, MLP 64-32-10, batch 32", command, rows, chosen.output)


if __name__ == "__main__":
    main()
