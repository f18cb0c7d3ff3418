"""``minigrad report`` and `study.report`: what the page says, that all of it is text, and what it refuses."""

import errno
import json
import math
import os
import random
import re

import numpy as np
import pytest
from report_tools import EVIL, TAGS, Page

from minigrad import cli, study
from minigrad.study.report._findings import SECTION_OF, all_findings
from minigrad.study.report._run_data import RunData
from minigrad.study.report._text import number, powers, share
from minigrad.training._run_directory import Ending
from minigrad.training.logs import Step

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
SECTIONS = [
    *("findings", "summary", "curves", "updates", "gradients", "activations", "state", "clips", "trust"),
    *("model", "layers", "weights", "settings"),
]


def report(capsys, *words):
    """Status, standard output, standard error."""
    status = cli.main(["report", *map(str, words)])
    return status, *capsys.readouterr()


def config(run):
    """The options of a run."""
    return json.loads((run / "config.json").read_text())["arguments"]


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself(reported, page):
    text = (reported["whole"] / "report.html").read_text()
    assert len(text.encode()) < 2_000_000
    assert {tag for tag, _ in page.elements} <= TAGS  # so neither script nor link nor frame
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert all(link["href"].startswith("#") for link in page.all("a"))
    names = {name for _, attributes in page.elements for name in attributes}
    assert not names & {"style", "srcset", "background"}
    assert not [name for name in names if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")


def test_the_page_can_be_read_by_everyone(page):
    assert page.all("html") == [{"lang": "en"}]
    assert any("viewport" in meta.get("name", "") for meta in page.all("meta"))
    assert all(len(image["alt"]) > 40 for image in page.all("img"))
    assert all(drawing["aria-label"] for drawing in page.all("svg"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    places = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(places) == len(set(places))
    assert {link["href"][1:] for link in page.all("a")} <= set(places)
    assert {each["aria-labelledby"] for each in page.all("section")} <= set(places)
    headings = [tag for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert headings[:2] == ["h1", "h2"]


def test_findings_come_first_and_every_section_answers_its_question(page):
    assert list(page.sections) == SECTIONS
    assert [link["href"][1:] for link in page.all("a")][: len(SECTIONS)] == SECTIONS
    assert all(len(words) > 100 for words in page.sections.values())


def test_a_finding_has_its_sentence_its_evidence_and_a_link(reported, page):
    recording = study.Recording.load(reported["whole"] / "record.jsonl")
    worst, *_ = study.findings(recording)
    name, value = next(iter(worst.evidence.items()))
    words = page.sections["findings"]
    assert worst.sentence[1:] in words
    assert f"{name.replace('_', ' ')} {number(value)}" in " ".join(words.split())
    assert {"href": f"#{SECTION_OF[worst.kind]}"} in page.all("a")[len(SECTIONS) :]


def test_the_numbers_of_the_panels_are_those_of_the_recording(reported, page):
    recording = study.Recording.load(reported["whole"] / "record.jsonl")
    first, last = recording.steps[[0, -1]]
    for layer in recording.layers:
        rows = {
            row[0].split(" 2-norm")[0].strip(): row[-3:]
            for row in page.tables[f"Layer {layer}, steps {first} to {last}"]
        }
        for title, quantity in (
            ("gradient", "gradient_norm"),
            ("weights", "parameter_norm"),
            ("update", "update_norm"),
        ):
            values = recording.layer(layer, quantity)
            assert rows[title] == [number(v) for v in (values[0], np.median(values), values[-1])]
        assert "to the slow weights" in rows


def test_the_ledgers_are_those_of_the_recording(reported, page):
    recording = study.Recording.load(reported["whole"] / "record.jsonl")
    entries = recording.clips()
    row = next(rows[1] for caption, rows in page.tables.items() if caption.startswith("Clips in their order"))
    before = np.median([entry["norm_before"] for entry in entries])
    assert row[:5] == ["by_global_norm", "global", "max_norm 0.001", "100% (20 of 20)", number(before)]
    trust = {row[0]: row[1:] for row in page.tables["Trust ratios over the records"][1:]}
    for name, values in recording.trust_ratios().items():
        assert trust[name][:4] == [number(f(values)) for f in (np.min, np.median, np.max)] + [number(values[-1])]


def test_the_metrics_are_those_of_the_run(reported, page):
    lines = (reported["whole"] / "metrics.csv").read_text().splitlines()
    rows = page.tables["Metrics by epoch"]
    assert rows[0] == ["epoch", "step", "train loss", "train accuracy", "held-out loss", "held-out accuracy"]
    values = [float(text) for text in lines[-1].split(",")]
    assert rows[-1] == ["5", "20", number(values[2]), f"{values[3]:.2%}", number(values[4]), f"{values[5]:.2%}"]
    assert f"{values[5]:.2%} at the end" in page.sections["summary"]


def test_weights_are_explained_as_by_the_command(capsys, reported, page):
    for weight, name in (("0.weight[3,1]", "0.weight[3, 1]"), ("2.bias[0]", "2.bias[0]")):
        assert cli.main(["explain", str(reported["whole"]), "--step", "9", "--param", weight, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["explanation"]
        words = " ".join(page.sections["weights"].split())
        assert f"{name} Lookahead around LAMB" in words
        for term in told["terms"]:
            if term["kind"] == "assignment":
                text = str(np.float32(term["value"])) if term["exact"] else f"{term['value']:.10g}"
                assert text in words
                assert " ".join(term["source"].split()) in words


@pytest.mark.slow
def test_the_same_run_makes_the_same_bytes(capsys, reported, tmp_path):
    words = ["--param", "0.weight[3,1]", "--param", "2.bias[0]", "--step", "9", "--output", tmp_path / "again.html"]
    assert report(capsys, reported["whole"], *words)[0] == 0
    assert (tmp_path / "again.html").read_bytes() == (reported["whole"] / "report.html").read_bytes()


def test_the_command_chooses_the_weight_that_moved_most(capsys, reported, tmp_path, unpainted):
    assert report(capsys, reported["bare"], "--output", tmp_path / "bare.html")[0] == 0
    words = Page((tmp_path / "bare.html").read_text()).sections["weights"]
    chosen = re.findall(r"(\d\.(?:weight|bias))\[([\d, ]+)\] +Adam", words)
    assert len(chosen) == 2
    assert chosen[1][0] == "0.weight"
    changes = {}
    for name, index in chosen:
        assert cli.main(["explain", str(reported["bare"]), "--param", f"{name}[{index}]", "--json"]) == 0
        changes[name, index] = abs(json.loads(capsys.readouterr().out)["explanation"]["change"])
    for other in ("0", "3"):  # of the parameter that was chosen, none moved farther
        index = ", ".join([other] * len(chosen[0][1].split(",")))
        assert cli.main(["explain", str(reported["bare"]), "--param", f"{chosen[0][0]}[{index}]", "--json"]) == 0
        assert abs(json.loads(capsys.readouterr().out)["explanation"]["change"]) <= changes[chosen[0]]


# --- runs of all kinds -----------------------------------------------------------------------------------------------


def test_the_loss_in_the_logs_is_judged_if_nothing_was_recorded():
    steps = tuple(Step(i, 1, 2.3 - 0.01 * i, 0.1) for i in range(1, 101))
    data = RunData("run", {"arguments": {"epochs": 1}}, (), steps)
    assert "still falling" in {each.kind for each in all_findings(data)}


def test_a_run_without_a_recording_has_a_report_that_says_how_to_record(capsys, reported, tmp_path):
    status, out, err = report(capsys, reported["bare"], "--output", tmp_path / "bare.html")
    assert (status, err) == (0, "")
    assert "minigrad train --record makes one" in out
    page = Page((tmp_path / "bare.html").read_text())
    assert list(page.sections) == ["findings", "summary", "curves", "model", "weights", "settings"]
    assert "minigrad train --record" in page.sections["findings"]
    assert len(page.all("img")) == 3


def test_no_training_is_needed_with_no_explain(capsys, monkeypatch, reported, tmp_path, unpainted):
    monkeypatch.setattr("minigrad.cli.report.Rerun", None)
    assert report(capsys, reported["bare"], "--no-explain", "--output", tmp_path / "bare.html")[0] == 0
    assert "weights" not in Page((tmp_path / "bare.html").read_text()).sections


def test_an_unfinished_run_is_told_so(capsys, copied, unpainted):
    run = copied("whole")
    for name in ("model.safetensors", "end.json"):
        (run / name).unlink()
    (run / "metrics.csv").write_text("".join((run / "metrics.csv").read_text().splitlines(keepends=True)[:3]) + "3,15")
    assert report(capsys, run)[0] == 0
    page = Page((run / "report.html").read_text())
    words = page.sections["findings"]
    assert "The run ended without a word: killed, or still running. It has 2 of 5 epochs, 20 steps" in words
    assert f"minigrad resume {config(run)['output']}/whole-1 continues it" in words


@pytest.mark.parametrize(
    ("ending", "status", "words"),
    [
        (("interrupted", 2, 9, "by Ctrl-C"), "Interrupted after", "Training was interrupted by Ctrl-C after"),
        (("failed", 2, 9, "no space <b>", "OSError"), "Failed after", "no space <b>. Once the cause is fixed, mini"),
        (("diverged", 2, 9, "the loss is nan"), "Diverged after", "the loss is nan. Lower the learning rate"),
        (("stopped", 2, 9, "held_out_accuracy has not improved"), "Stopped after",
         "Training was stopped early, after 5 epochs: the held-out accuracy has not improved."),
        (None, "Finished after", "The loss has hardly fallen"),  # a run of an older minigrad
    ],
)  # fmt: skip
def test_how_a_run_ended_stands_at_the_top_and_among_the_findings(copied, unpainted, ending, status, words):
    run = copied("whole")
    (run / "end.json").unlink()
    if ending is not None:
        Ending(*ending).write(run)
    text = study.report(run).read_text()
    assert f'<p class="state">{status} 5 epochs' in text
    assert words in Page(text).sections["findings"]


def test_a_report_of_a_run_killed_in_its_second_life_does_not_call_it_finished(copied, unpainted):
    run = copied("whole")
    values = json.loads((run / "config.json").read_text())
    values["arguments"]["epochs"] = 9
    (run / "config.json").write_text(json.dumps(values))
    (run / "end.json").unlink()
    page = Page(study.report(run).read_text())
    assert "The run ended without a word: killed, or still running. It has 5 of 9 epochs" in page.sections["findings"]


def test_a_run_that_has_taken_no_step_has_a_report(capsys, copied, unpainted):
    run = copied("whole")
    for name in ("model.safetensors", "metrics.csv", "steps.jsonl", "record.jsonl", "end.json"):
        (run / name).unlink()
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.unlink()
    status, out, err = report(capsys, run)
    assert (status, err) == (0, "")
    assert "No update could be explained: " in out
    assert "has taken no step yet" in out
    assert "0 of 5 epochs, 0 steps" in Page((run / "report.html").read_text()).sections["findings"]


def test_where_nothing_stands_out_a_short_recording_is_said_to_be_short(reported, tmp_path, unpainted):
    def said(count):
        whole = study.Recording.load(reported["whole"] / "record.jsonl")
        layers = {name: {"gradient_norm": 1.0, "parameter_norm": 1.0, "update_ratio": 1e-3} for name in whole.layers}
        records = [{"step": i + 1, "mean_loss": 1 / (i + 1), "layers": layers} for i in range(count)]
        return Page(study.report(study.Recording(whole.header, records), tmp_path / "page.html").read_text()).sections

    assert "But 4 steps and 4 records are too few to show a trend." in said(4)["findings"]
    long = said(12)["findings"]
    assert "None of the checks found a problem. Checked: how the run ended" in long
    assert "too few" not in long


def test_a_run_that_diverged_is_told_so(capsys, tmp_path, unpainted):
    words = [
        "--data",
        "digits",
        "--lr",
        "60",
        "--epochs",
        "3",
        "--record",
        "5",
        "--output",
        str(tmp_path),
        "--name",
        "up",
    ]
    assert cli.main(["train", *words, "--quiet"]) == 1
    capsys.readouterr()
    status, out, _ = report(capsys, tmp_path / "up-1")
    assert status == 0
    assert re.search(r": \d errors", out)
    page = Page((tmp_path / "up-1" / "report.html").read_text())
    first = page.sections["findings"].split(".")[0]
    assert "The loss diverged, and training was given up after epoch 1" in first
    assert "0 is dead" in page.sections["findings"]


def test_a_loss_that_rises_on_held_out_data_alone_is_overfitting():
    def run(held_out):
        rows = [
            {"epoch": i + 1, "step": i + 1, "train_loss": 1 / (i + 1), "held_out_loss": v}
            for i, v in enumerate(held_out)
        ]
        steps = [Step(i + 1, i + 1, 1 / (i + 1), 0.1) for i in range(len(rows))]
        config = {"arguments": {"epochs": len(rows)}}
        return [f.kind for f in all_findings(RunData("run", config, tuple(rows), tuple(steps), has_weights=True))]

    assert run([1.0, 0.5, 0.4, 0.45, 0.6, 0.8, 0.9, 1.0]) == ["overfitting"]
    assert run([1.0, 0.5, 0.4, 0.41, 0.4, 0.42, 0.41, 0.4]) == []
    assert run([1.0, 0.4, 0.41, 0.42, 0.43, 0.45, 0.46, 0.47]) == ["overfitting"], "little, but for most of the epochs"
    assert run([1.0, 0.8, 0.7, 0.6, 0.4, 0.45, 0.46, 0.47]) == []
    assert run([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.5]) == []


def test_a_loss_that_is_not_finite_is_told_by_the_end_of_the_run_alone():
    reason = "the loss is nan at step 2 (epoch 1); the features of the batch are not finite"
    header = {"format": "minigrad record", "version": 1, "optimizer": "SGD", "layers": {"0": {"parameters": 4}}}
    lost = {"step": 2, "stepped": False, "taken": False, "layers": {"0": {}}, "loss": math.nan, "reason": reason}
    recording = study.Recording(header, [{"step": 1, "layers": {"0": {}}}, lost])
    ended = Ending("diverged", 0, 1, reason, "NonFiniteLossError")
    source = RunData("run", {"arguments": {"epochs": 1}}, (), (), recording=recording, ending=ended)
    assert source.last_step == 1
    assert [f.kind for f in all_findings(source) if f.severity == "error"] == ["diverged"]
    alone = RunData("run", {"arguments": {"epochs": 1}}, (), (), recording=recording)
    assert "not finite" in [f.kind for f in all_findings(alone)]


def test_a_recording_alone_has_a_report(reported, tmp_path, unpainted):
    recording = study.Recording.load(reported["whole"] / "record.jsonl")
    path = study.report(recording, tmp_path / "one.html")
    assert path == tmp_path / "one.html"
    study.report(reported["whole"] / "record.jsonl", tmp_path / "two.html")
    pages = [Page(each.read_text()) for each in (path, tmp_path / "two.html")]
    assert pages[0].sections.keys() == pages[1].sections.keys()
    assert "trust" in pages[0].sections
    with pytest.raises(ValueError, match="has no records"):
        study.report(study.Recording(), tmp_path / "none.html")


def test_study_report_writes_where_the_command_does_and_takes_explanations(copied, unpainted):
    run = copied("bare")
    assert study.report(run) == run / "report.html"
    assert "weights" not in Page((run / "report.html").read_text()).sections
    with pytest.raises(FileNotFoundError, match="no such folder"):
        study.report(run / "nothing")


# --- hostile and damaged files ---------------------------------------------------------------------------------------


def test_everything_from_the_run_is_text(reported_hostile):
    page = Page((reported_hostile / "report.html").read_text())
    assert "No update could be explained" in page.sections["weights"]
    assert {tag for tag, _ in page.elements} <= TAGS
    assert not [
        name for _, attributes in page.elements for name in attributes if name.startswith("on") or name == "style"
    ]
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    for text in EVIL[:5]:
        assert text in page.sections["settings"]
        assert text in page.sections["layers"] or text in page.sections["summary"]
    assert "\u202e" not in page.sections["settings"]
    assert len(page.sections["settings"]) < 50_000


@pytest.mark.parametrize(
    ("name", "line", "text", "problem"),
    [
        ("record.jsonl", 3, '{"step": 4, "layers": 7}', "record.jsonl, line 3: is damaged"),
        ("record.jsonl", 1, "{}", "record.jsonl: is not a recording"),
        ("steps.jsonl", 2, '{"step": 1, "epoch": 1, "loss": 1.0, "lr": 0.1}', "steps.jsonl, line 2: is damaged"),
        ("steps.jsonl", 2, '{"step": 2}', "steps.jsonl, line 2: is damaged"),
        ("metrics.csv", 2, "1,5,many", "metrics.csv, line 2: is damaged"),
        ("metrics.csv", 1, "a,b", "metrics.csv, line 1: is damaged"),
        ("config.json", 1, "", "config.json: is not readable JSON"),
        ("end.json", 1, "[", "end.json: is not readable JSON"),
        ("end.json", 4, '"state": "happy",', "end.json: is damaged; delete it"),
    ],
)
def test_a_damaged_file_is_named_and_the_page_from_before_stays(capsys, copied, name, line, text, problem):
    run = copied("whole")
    lines = (run / name).read_text().splitlines()
    lines[line - 1] = text
    (run / name).write_text("\n".join(lines) + "\n")
    before = (run / "report.html").read_bytes()
    status, out, err = report(capsys, run, "--no-explain")
    assert (status, out) == (2, "")
    assert problem in err
    assert (run / "report.html").read_bytes() == before


@pytest.mark.slow
def test_a_recording_with_any_value_changed_is_refused_by_its_line_or_reported(reported, tmp_path, unpainted):
    lines = [json.loads(text) for text in (reported["whole"] / "record.jsonl").read_text().splitlines()[:4]]
    strange = [None, -1, 1e308, True, [], {}, [1, 2, 3, 4, 5], "x", {"$number": "nan"}, {"$number": "inf"}, 10**30]
    told = dict.fromkeys(("refused", "reported", "not named"), 0)
    for seed in range(120):
        chooser = random.Random(seed)
        changed = json.loads(json.dumps(lines))
        place = chooser.choice(changed)
        while True:  # go down until a value is taken, or there is nothing below
            key = chooser.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or chooser.random() < 0.2:
                break
            place = place[key]
        place[key] = chooser.choice(strange)
        path = tmp_path / "record.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in changed))
        try:
            study.report(path, tmp_path / "page.html")
            told["reported"] += 1
        except study.RecordingError as error:
            told["refused" if str(error).startswith(str(path)) else "not named"] += 1
    assert told["not named"] == 0
    assert min(told["refused"], told["reported"]) > 10


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--param", "0.wait[0,0]"], "did you mean '0.weight'?"),
        (["--param", "0.weight[0]"], "its index has 2 numbers"),
        (["--step", "21"], "took 20 steps, so there is no step 21"),
        (["--param", "0.bias[0]"] * 17, "--param may be given up to 16 times"),
        (["--stpe", "1"], "did you mean '--step'?"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused_before_anything_is_written(capsys, reported, tmp_path, words, problem):
    status, out, err = report(capsys, reported["bare"], *words, "--output", tmp_path / "page.html")
    assert (status, out) == (2, "")
    assert problem in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_trained_again_has_a_report_that_says_why(capsys, copied, unpainted):
    run = copied("whole")
    config = json.loads((run / "config.json").read_text())
    config["data"]["sha256"] = "0" * 64
    (run / "config.json").write_text(json.dumps(config))
    status, out, err = report(capsys, run)
    assert (status, err) == (0, "")
    assert "No update could be explained: the data of the run had other values." in out
    assert "the data of the run had other values" in Page((run / "report.html").read_text()).sections["weights"]


# --- writing ---------------------------------------------------------------------------------------------------------


def test_only_a_report_is_overwritten(capsys, reported, tmp_path, unpainted):
    path = tmp_path / "mine.html"
    path.write_text("<html>mine</html>")
    status, _, err = report(capsys, reported["bare"], "--no-explain", "--output", path)
    assert status == 2
    assert "exists and is not a report; name another file" in err
    assert path.read_text() == "<html>mine</html>"
    assert "is a folder" in report(capsys, reported["bare"], "--no-explain", "--output", tmp_path)[2]
    assert (
        "No such file" in report(capsys, reported["bare"], "--no-explain", "--output", tmp_path / "no" / "page.html")[2]
    )
    path.unlink()
    for _ in range(2):
        assert report(capsys, reported["bare"], "--no-explain", "--output", path)[0] == 0


def test_on_a_full_disk_the_page_from_before_stays(capsys, copied, monkeypatch, unpainted):
    run = copied("whole")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, out, err = report(capsys, run, "--no-explain")
    assert (status, out) == (1, "")
    assert "report.html: cannot write: No space left on device" in err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_very_many_layers_make_no_page_above_the_limit(reported, tmp_path):
    small = study.Recording.load(reported["whole"] / "record.jsonl")
    layer, about = small.layers[0], small.header["layers"][small.layers[0]]
    names = [f"blocks.{i}.mlp" for i in range(300)]
    generator = np.random.default_rng(0)

    def varied(values):
        return {
            name: value * float(generator.uniform(0.5, 2)) if isinstance(value, float) else value
            for name, value in values.items()
        }

    template = {
        k: v
        for k, v in small.records[0]["layers"][layer].items()
        if k in ("gradient_norm", "parameter_norm", "update_ratio", "scalars")
    }
    records = [
        {"step": i + 1, "mean_loss": 1.0, "layers": {name: varied(template) for name in names}} for i in range(10)
    ]
    header = {**small.header, "layers": dict.fromkeys(names, about), "activations": {}}
    path = study.report(study.Recording(header, records), tmp_path / "page.html")
    assert path.stat().st_size < 2_000_000
    words = Page(path.read_text()).sections
    assert "Pictures show 60 of 300 layers, evenly spread; tables show the first 200" in words["updates"]
    assert "The recording has 276 more layers" in words["layers"]


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.012345, "0.0123"),
        (12345.678, "12,300"),
        (-0.5, "\N{MINUS SIGN}0.5"),
        (1.5e-7, "1.5 \N{MULTIPLICATION SIGN} 10⁻⁷"),
        (2e12, "2 \N{MULTIPLICATION SIGN} 10¹²"),
        (float("nan"), "NaN"),
        (float("-inf"), "\N{MINUS SIGN}∞"),
        (np.float64(3), "3"),
        (None, ""),
        (True, "yes"),
        ("text", "text"),
        ([1], "[1]"),
        (10**400, str(10**400)[:300] + "… (401 characters)"),
    ],
)
def test_numbers_are_written_as_people_write_them(value, text):
    assert number(value) == text


def test_a_share_is_never_rounded_to_all_or_nothing():
    assert [share(*each) for each in ((0, 9), (9, 9), (1, 900), (899, 900), (1, 2), (0, 0))] == [
        "0%", "100%", "< 1%", "> 99%", "50%", "none",
    ]  # fmt: skip


def test_powers_of_ten_in_a_sentence_are_written_as_in_a_table():
    assert powers("grown 1.06e+09 times, -3e-05 in layer 2e5 of a1e-3") == (
        f"grown 1.06 {TIMES} 10⁹ times, {MINUS}3 {TIMES} 10⁻⁵ in layer 2e5 of a1e-3"
    )
