"""What `training.fit` costs over the explicit loop: MLP 64-32-10 on the digits, batch 32, with logging on.

Both train the same model on the same batches; epochs alternate, and each is compared with its neighbour, so that what
else the machine does falls on both alike. The time of the epoch's end (evaluation, checkpoint) is reported apart.

    python benchmarks/loop_overhead.py [--epochs N]
"""

import argparse
import tempfile
import time
from pathlib import Path

from minigrad import data, manual_seed, nn, optim, training


def make():
    train, _ = data.stratified_split(data.load_digits(), 0.2, 0)
    manual_seed(0)
    model = nn.MLP([64, 32, 10])
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, optimizer, data.DataLoader(train, batch_size=32, shuffle=True, seed=0)


def explicit(model, optimizer, loader):
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    epochs = parser.parse_args().epochs
    bare, fitted = make(), make()
    steps = len(bare[2])
    times = {"explicit loop": [], "fit": [], "end of epoch": []}

    class Clock(training.Callback):
        """First of the callbacks: the time from the first to the last step of an epoch."""

        def after_epoch(self, run):
            self.ended = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        log = training.RunLog(folder)

        class Alternate(training.Callback):
            """Last of the callbacks: an epoch of the explicit loop between two of fit."""

            def begin(self, run):
                self.started = time.perf_counter()

            def after_epoch(self, run):
                now = time.perf_counter()
                times["fit"].append(clock.ended - self.started)
                times["end of epoch"].append(now - clock.ended)
                explicit(*bare)
                times["explicit loop"].append(time.perf_counter() - now)
                self.started = time.perf_counter()

        checkpoints = training.Checkpoints(Path(folder) / "checkpoints")
        training.fit(
            *fitted,
            epochs,
            metrics={"accuracy": training.correct},
            callbacks=[clock, log, checkpoints, Alternate()],
        )
    for mine, other in zip(bare[0].parameters(), fitted[0].parameters(), strict=True):
        assert (mine.data == other.data).all(), "the two loops did not train the same model"
    for name, measured in times.items():
        fastest, median = (value / steps * 1e6 for value in (min(measured), sorted(measured)[epochs // 2]))
        print(f"{name:15s} {fastest:8.2f} us per step, median {median:8.2f}")
    pairs = sorted(a / b - 1 for a, b in zip(times["fit"], times["explicit loop"], strict=True))
    print(f"overhead of fit with logging: {pairs[epochs // 2] * 100:.1f} % (median of {epochs} pairs of epochs)")


if __name__ == "__main__":
    main()
