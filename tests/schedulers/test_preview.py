"""What lies ahead, as arrays and as a picture, without any change."""

import subprocess
import sys

import numpy as np
import pytest
from schedule_tools import everything, follow, sgd

from minigrad import schedulers as S


@pytest.mark.parametrize("steps_before", [0, 7])
@pytest.mark.parametrize(
    "make",
    [
        lambda o: S.CyclicLR(o, [0.1, 0.2], 0.5, 4, mode="triangular2"),
        lambda o: S.OneCycleLR(o, 0.5, 30),
        lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2),
        lambda o: S.MultiplicativeLR(o, lambda t: 0.9 if t % 2 else 0.8),
        lambda o: S.Scheduler(o, S.WarmupStableDecay(3, 5, 9), option="momentum"),
        lambda o: S.SequentialLR(o, [S.LinearLR(o), S.StepLR(o, 3)], [5]),
    ],
    ids=["cyclic", "onecycle", "restarts", "multiplicative", "momentum", "sequential"],
)
def test_a_preview_is_what_then_happens_and_changes_nothing(make, steps_before, tmp_path):
    optimizer = sgd(0.1, 0.3)
    scheduler = make(optimizer)
    for option in scheduler.schedules:
        follow(optimizer, scheduler, steps_before, option)
        before = everything(scheduler)
        preview = scheduler.preview(25, tmp_path / "curve.png")
        assert everything(scheduler) == before
        assert set(preview) == set(scheduler.schedules)
        assert preview[option].shape == (2, 25)
        np.testing.assert_array_equal(preview[option], follow(optimizer, scheduler, 25, option).T)


def test_the_curves_are_drawn_to_a_file_with_labels_and_without_pyplot(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: drawn.append((figure, path)))
    optimizer = sgd(0.1, 0.3)
    scheduler = S.OneCycleLR(optimizer, [0.5, 0.2], 40)
    curves = scheduler.preview(40, tmp_path / "curve.svg")
    ((figure, path),) = drawn
    assert path == tmp_path / "curve.svg"
    assert [ax.get_ylabel() for ax in figure.axes] == ["lr", "momentum"]
    assert figure.axes[-1].get_xlabel() == "scheduler step"
    for ax, curve in zip(figure.axes, curves.values(), strict=True):
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["param group 0", "param group 1"]
        for line, values in zip(ax.get_lines(), curve, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(40))
            np.testing.assert_array_equal(line.get_ydata(), values)
        first, second = ax.get_lines()
        assert first.get_color() != second.get_color()
        assert first.get_linestyle() != second.get_linestyle()


def test_a_png_is_written_by_its_suffix(tmp_path):
    S.StepLR(sgd(0.1), 3).preview(20, str(tmp_path / "lr.png"))
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")


def test_matplotlib_is_imported_only_to_draw():
    code = (
        "import sys; import numpy as np; from minigrad import nn, optim, schedulers as S;"
        "S.StepLR(optim.SGD([nn.Parameter(np.ones(1))]), 3).preview(5); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
