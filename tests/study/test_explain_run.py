"""``minigrad explain``: the update that a run made, made again to the last bit, and nothing written."""

import json
import re
import shutil

import numpy as np
import pytest

from minigrad import cli, training
from minigrad.cli.display import console
from minigrad.cli.options import complete
from minigrad.cli.parser import parse
from minigrad.cli.prepare import prepare

RECIPE = ["--data", "blobs:samples=120", "--model", "mlp:6,dropout=0.2", "--batch-size", "24", "--optimizer", "AdamW"]
RECIPE += [
    "--lookahead",
    "k=3",
    "--schedule",
    "ExponentialLR:gamma=0.9",
    "--clip",
    "by_global_norm:0.5",
    "--epochs",
    "5",
    "--keep",
    "3",
]
STEPS = 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, made once."""
    folder = tmp_path_factory.mktemp("runs")
    assert cli.main(["train", *RECIPE, "--output", str(folder), "--name", "own", "--quiet"]) == 0
    return folder / "own-1"


@pytest.fixture
def run_folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "own-1")


def explain(capsys, folder, *words):
    """Status, standard output, standard error."""
    status = cli.main(["explain", str(folder), *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def live(step, name, index):
    """The explanation of that step in a training that is watched from the beginning."""
    arguments = complete(parse(["train", *RECIPE, "--quiet"]))
    run, _ = prepare(arguments, console(True))
    found = []

    class Explain(training.Callback):
        def after_step(self, run):
            if run.progress.step == step:
                found.append(run.optimizer.explain(name, index))

    run.callbacks = [Explain()]
    run.optimizer.watch()
    training.train(run, arguments["epochs"])
    return found[0]


@pytest.mark.parametrize("step", [1, 4, 15, 18, 20])
def test_explaining_a_run_equals_explaining_the_live_training(capsys, run_folder, step):
    before = files(run_folder)
    status, out, err = explain(capsys, run_folder, "--step", step, "--param", "0.weight[2,1]", "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["reproduced"] is True
    assert told["loss"] == told["logged_loss"]
    assert told["explanation"] == json.loads(json.dumps(live(step, "0.weight", (2, 1)).to_dict()))
    assert told["explanation"]["exact"] is True
    assert files(run_folder) == before


def test_the_last_step_is_the_default_and_leaves_the_weights_of_the_run(capsys, run_folder):
    status, out, _ = explain(capsys, run_folder, "--param", "0.weight[2,1]")
    assert status == 0
    assert out.startswith(f"step {STEPS} of {run_folder}, trained again from step 16; its loss, ")
    assert "is the logged one to the last bit" in out
    weights, _ = training.read_tensors(run_folder / "model.safetensors", signed=False)
    (shown,) = re.findall(r"\n  param +(\S+) +as computed above", out)
    assert np.float32(shown) == weights["0.weight"][2, 1]
    assert "ExponentialLR at its step 4" in out


def test_without_checkpoints_it_trains_from_the_beginning(capsys, run_folder):
    status, before, _ = explain(capsys, run_folder, "--step", 18, "--param", "0.bias[3]")
    shutil.rmtree(run_folder / "checkpoints")
    again, after, _ = explain(capsys, run_folder, "--step", 18, "--param", "0.bias[3]")
    assert status == again == 0
    assert "trained again from the beginning" in after
    assert after.partition("\n\n")[2] == before.partition("\n\n")[2]


def test_without_a_parameter_it_lists_them(capsys, run_folder):
    status, out, _ = explain(capsys, run_folder)
    assert status == 0
    assert "0.weight  6 by 2\n" in out
    assert "--param '0.weight[0,0]'" in out
    _, out, _ = explain(capsys, run_folder, "--json")
    assert json.loads(out)["parameters"]["0.bias"] == [6]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--param", "0.wieght[0,0]"), "unknown parameter '0.wieght'; did you mean '0.weight'?"),
        (
            ("--param", "0.weight[6,0]"),
            "for axis 0 of '0.weight', whose shape is (6, 2); such as 0.weight[0,0]",
        ),
        (("--param", "0.weight"), "its index has 2 numbers, not 0; such as 0.weight[0,0]"),
        (("--param", "0.weight[a,b]"), "--param needs a weight such as 0.weight[3,7]"),
        (("--param", "0.weight[0,0"), "--param needs a weight"),
        (("--param", "0.bias[0]", "--step", "21"), "took 20 steps, so there is no step 21"),
        (("--step", "0"), "must be a whole number of 1 or more"),
        (("--parm", "0.bias[0]"), "unknown argument '--parm'; did you mean '--param'?"),
    ],
)
def test_what_was_typed_wrong_is_named_with_what_is_right(capsys, run_folder, words, message):
    status, out, err = explain(capsys, run_folder, *words)
    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("minigrad explain: ")
    assert err.count("\n") == 1


def test_a_folder_that_is_no_run_and_one_without_steps_are_refused(capsys, run_folder, tmp_path):
    assert explain(capsys, tmp_path / "none")[::2] == (2, f"minigrad explain: {tmp_path / 'none'}: no such folder\n")
    shutil.rmtree(run_folder / "checkpoints")
    (run_folder / "steps.jsonl").unlink()
    status, out, _ = explain(capsys, run_folder, "--param", "0.bias[0]")
    assert status == 0, "end.json still says how many steps there were"
    assert "trained again from the beginning; steps.jsonl has no line of this step to compare with" in out
    (run_folder / "end.json").unlink()
    status, _, err = explain(capsys, run_folder, "--param", "0.bias[0]")
    assert status == 2
    assert "has taken no step yet" in err
    assert explain(capsys, run_folder / "config.json")[::2] == (
        2,
        f"minigrad explain: {run_folder / 'config.json'}: is a file; give the folder of a run, {run_folder}\n",
    )


def test_other_data_is_refused(capsys, run_folder):
    config = json.loads((run_folder / "config.json").read_text())
    config["data"]["sha256"] = "0" * 64
    (run_folder / "config.json").write_text(json.dumps(config))
    status, _, err = explain(capsys, run_folder, "--param", "0.bias[0]")
    assert (status, err) == (2, "minigrad explain: the data of the run had other values\n")


def test_a_loss_that_is_not_reproduced_is_said_and_ends_with_status_1(capsys, run_folder):
    log = run_folder / "steps.jsonl"
    lines = log.read_text().splitlines()
    row = json.loads(lines[-1])
    log.write_text("\n".join([*lines[:-1], json.dumps({**row, "loss": row["loss"] * (1 + 1e-7)})]) + "\n")
    status, out, err = explain(capsys, run_folder, "--param", "0.bias[0]")
    assert status == 1
    assert ", not " in out.splitlines()[0]
    assert "this is not the update that the run made" in err
    assert explain(capsys, run_folder, "--param", "0.bias[0]", "--step", STEPS - 1)[0] == 0


def test_a_step_whose_line_was_lost_is_explained_and_said_to_be_unverified(capsys, run_folder):
    log = run_folder / "steps.jsonl"
    log.write_text(log.read_text()[:-30])
    status, out, _ = explain(capsys, run_folder, "--param", "0.bias[0]")
    assert status == 0
    assert "steps.jsonl has no line of this step to compare with" in out


def damage(path):
    path.write_bytes(path.read_bytes()[:-7])


def test_a_damaged_checkpoint_is_named_and_an_older_one_used(capsys, run_folder):
    older, nearest = training.checkpoints(run_folder / "checkpoints")[:2]
    step = int(nearest.stem[5:]) + 1
    assert step < STEPS
    asked = ("--step", step, "--param", "0.bias[0]")
    before = explain(capsys, run_folder, *asked)[1]
    assert f"trained again from step {step - 1};" in before
    for path, begun in ((nearest, f"step {int(older.stem[5:])}"), (older, "the beginning")):
        damage(path)
        held = files(run_folder)
        status, after, err = explain(capsys, run_folder, *asked)
        assert status == 0
        assert path.name in err.splitlines()[-1]
        assert "training began earlier" in err
        assert f"trained again from {begun};" in after
        assert after.partition("\n\n")[2] == before.partition("\n\n")[2]
        assert files(run_folder) == held
