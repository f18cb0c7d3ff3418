"""The model in a report: its graph, for a run or a recorder, or the reason why there is none."""

import base64
import json

import numpy as np
import pytest
from matplotlib.text import Text
from report_tools import Page

import minigrad
from minigrad import nn, optim, study, training
from minigrad.study.report import _pictures as pictures


def graph_of(page):
    """The picture of the model as text."""
    (source,) = [image["src"] for image in page.all("img") if image["alt"].startswith("Graph of the model")]
    return base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()


def test_the_model_is_drawn_with_the_weights_that_the_run_has_left(reported, page):
    svg = graph_of(page)
    weights, _ = training.read_tensors(reported["whole"] / "model.safetensors")
    for title in ("Linear '0'", "Tanh '1'", "Linear '2'", "Tanh '3'", "Linear '4'"):
        assert title in svg
        assert title in page.sections["model"]
    for name in ("0.weight", "4.bias"):
        low, high = (f"{f(weights[name]):.3g}" for f in (np.min, np.max))
        assert f" {low} … {high}<" in svg
    assert "the first 24 held-out rows" in page.sections["model"]


def test_drawing_the_model_leaves_the_random_numbers_as_they_are(reported, tmp_path, unpainted):
    minigrad.manual_seed(3)
    expected = minigrad.randn(4).numpy()
    minigrad.manual_seed(3)
    study.report(reported["bare"], tmp_path / "page.html")
    assert (minigrad.randn(4).numpy() == expected).all()


def test_a_run_whose_data_has_changed_has_a_report_that_says_why_there_is_no_graph(copied, unpainted):
    run = copied("whole")
    values = json.loads((run / "config.json").read_text())
    values["data"]["sha256"] = "0" * 64
    (run / "config.json").write_text(json.dumps(values))
    page = Page(study.report(run).read_text())
    assert "The model could not be drawn: the data has changed since the run" in page.sections["model"]
    assert not [image for image in page.all("img") if image["alt"].startswith("Graph of the model")]


def test_a_recorder_has_a_report_with_the_graph_of_its_model(tmp_path, unpainted):
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            for name, size in (("<b>&\"'", 3), ("$x$", 2)):
                self.add_module(name, nn.Linear(3, size))

        def forward(self, x):
            for module in self.children():
                x = module(x)
            return x

    model = Strange()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with study.Recorder(model, optimizer, every=1, probe=np.ones((5, 3), np.float32)) as recorder:
        for _ in range(2):
            optimizer.zero_grad()
            model(minigrad.ones(5, 3)).sum().backward()
            optimizer.step()
    page = Page(study.report(recorder, tmp_path / "page.html").read_text())
    assert graph_of(page).count("Linear") >= 2
    assert "Linear '&lt;b&gt;&amp;" in graph_of(page)
    assert "5 rows of the probe" in page.sections["model"]
    alone = Page(study.report(recorder.recording, tmp_path / "page.html").read_text())
    assert "A recording does not contain the model" in alone.sections["model"]
    model.forward = lambda x: 1 / 0
    broken = Page(study.report(recorder, tmp_path / "page.html").read_text())
    assert "The model could not be drawn: division by zero." in broken.sections["model"]
    with pytest.raises(TypeError, match="needs a run directory, a Recorder, a Recording or its file, not a Strange"):
        study.report(model)


def test_a_dollar_in_a_name_stands_in_pictures_as_it_is(monkeypatch, tmp_path):
    drawn = []

    def keep(figure):
        drawn.extend(each for each in figure.findobj(Text) if "a$b$" in each.get_text().replace("\\$", "$"))
        return b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'

    monkeypatch.setattr(pictures, "_svg", keep)
    model = nn.Sequential()
    model.add_module("a$b$", nn.Linear(3, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    with study.Recorder(model, optimizer, every=1) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            model(minigrad.ones(5, 3)).sum().backward()
            optimizer.step()
    study.report(recorder, tmp_path / "page.html")
    assert len(drawn) >= 3
    # Where formulas are looked for, a backslash means a dollar; elsewhere it would be seen.
    assert all(("a\\$b\\$" if each.get_parse_math() else "a$b$") in each.get_text() for each in drawn)
