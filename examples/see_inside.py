"""What is wrong with this training? A recorder and three pictures show it.

The network trains, and its loss falls, but it has three faults: the weights of the first layer start far too small,
some units of the second layer start with a bias so low that they are never active, and the gradient is clipped at every
step. Remove the faults one by one (`FAULTS`), and watch the findings disappear.
"""

import argparse
from pathlib import Path

import minigrad
from minigrad import clipping, data, nn, optim, study
from minigrad.study.records.recorder import EVERY

FAULTS = {"small weights", "dead units", "tight clip"}
STEPS = 400


def build(faults):
    """Return a network with these faults, and its optimizer."""
    minigrad.manual_seed(0)
    model = nn.MLP([64, 48, 48, 48, 10])
    if "small weights" in faults:
        model[0].weight.data *= 0.02
    if "dead units" in faults:
        model[2].bias.data[:30] = -4.0
    clip = clipping.by_global_norm(0.02 if "tight clip" in faults else 100.0)
    return model, optim.AdamW(model.parameters(), lr=2e-3, clip=clip)


def train(model, optimizer):
    """Train, with a record of every 10th step. Return the recorder."""
    digits = data.load_digits()
    loader = data.DataLoader(digits, batch_size=32, shuffle=True, seed=0)
    with study.Recorder(model, optimizer, every=10, probe=digits.features[:256]) as recorder:
        while optimizer.steps < STEPS:
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                recorder.note(loss.item())
                optimizer.step()
    return recorder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Record a training and print what is wrong with it.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the pictures")
    folder = parser.parse_args().output
    model, optimizer = build(FAULTS)
    recorder = train(model, optimizer)
    for finding in study.findings(recorder.recording):
        print(f"- {finding}")
    print(f"\n{recorder.cost_in_words()}; by default it records every {EVERY} steps")
    study.plots.update_ratios(recorder.recording, path=folder / "update_ratios.png")
    study.plots.activation_health(recorder.recording, path=folder / "activation_health.png")
    study.plots.clip_ledger(recorder.recording, path=folder / "clip_ledger.png")
    x, y = data.load_digits()[:32]
    with study.trace():
        loss = nn.functional.cross_entropy(model(x), y)
    study.draw_graph(loss, path=folder / "graph.svg")
    print(f"{folder}: update_ratios.png, activation_health.png, clip_ledger.png and graph.svg")
