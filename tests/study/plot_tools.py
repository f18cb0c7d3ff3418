"""Recordings to draw, and the texts and overlaps of a drawn picture."""

import numpy as np
from matplotlib.text import Text

from minigrad import Tensor, clipping, manual_seed, nn, optim, study
from minigrad.study import plots


def recorded(optimizer, layers=2, steps=12, every=3, activation="relu", change=None):
    manual_seed(0)
    model = nn.MLP([3] + [4] * (layers - 1) + [2], activation=activation)
    if change is not None:
        change(model)
    made = optimizer(model.parameters())
    rng = np.random.default_rng(0)
    with study.Recorder(model, made, every=every, probe=rng.normal(size=(16, 3)).astype(np.float32)) as recorder:
        for _ in range(steps):
            made.zero_grad()
            loss = ((model(Tensor(rng.normal(size=(8, 3)).astype(np.float32))) - 1) ** 2).mean()
            recorder.note(loss)
            loss.backward()
            made.step()
    return recorder.recording


def lamb(p):
    return optim.LAMB(p, lr=0.01, phi=(0.0, 1.0))


def clipped(p):
    return optim.SGD(p, lr=0.1, clip=clipping.by_global_norm(0.5))


PLOTS = {
    "update_ratios": plots.update_ratios,
    "gradient_flow": plots.gradient_flow,
    "clip_ledger": plots.clip_ledger,
    "trust_ratios": plots.trust_ratios,
    "optimizer_state": plots.optimizer_state,
    "signal": lambda r, **k: plots.optimizer_state(r, "signal", **k),
    "activation_health": plots.activation_health,
    "losses": plots.losses,
}


def texts(ax):
    """The texts in the axes."""
    return [text.get_text() for text in ax.texts]


def words(ax):
    """The texts in the legend of the axes."""
    return [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() is not None else []


def covers(figure):
    """The words that overlap the data, titles that overlap a neighbor, and anything outside the drawn figure."""
    figure.draw_without_rendering()  # the plain canvas of a Figure would draw nothing
    shown = [ax for ax in figure.axes if ax.axison]
    found = []
    for ax in shown:
        legend = ax.get_legend()
        words = [t for t in [*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label] if t.get_text() and t.get_visible()]
        boxes = [(t.get_text(), Text.get_window_extent(t)) for t in words]
        boxes += [("legend", legend.get_window_extent())] if legend is not None else []
        for what, box in boxes:
            over = [each for each in shown if overlap(box, each.get_window_extent())]
            outside = not (box.x0 > -1 and box.x1 < figure.bbox.x1 + 1 and box.y0 > -1 and box.y1 < figure.bbox.y1 + 1)
            if over or outside:
                found.append(what)
        found += [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if overlap(one, other)]
    return found


def overlap(a, b):
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
