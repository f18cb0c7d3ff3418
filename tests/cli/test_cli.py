"""The command line: what it prints, how it fails, and that the default recipe learns."""

import gzip
import os
import re
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
from cli_tools import run

import minigrad
from minigrad import cli, data, optim
from minigrad.cli.options import complete
from minigrad.cli.parser import parsers
from minigrad.recipes.calls import show
from minigrad.recipes.catalog import hyper_parameters
from minigrad.recipes.recipe import DEFAULT_MODEL
from minigrad.study.sweeps.sweep import SEEDS, VALIDATION

pytestmark = pytest.mark.usefixtures("own_folder")


def rows(out):
    """The rows of the epochs."""
    return [line.split() for line in out.splitlines() if re.match(r" *\d+  +\d", line) and "%" in line]


def best(out):
    return float(re.search(r"best ([\d.]+)%", out).group(1))


def test_train_prints_the_model_the_optimizer_and_a_row_per_epoch(capsys):
    status, out, err = run(capsys, "train", "--epochs", "3")
    assert (status, err) == (0, "")
    assert "4,810 parameters" in out
    assert "SGD(lr=0.2, momentum=0.9)" in out
    assert "1438 rows of digits to train, 359 held out" in out
    assert [row[0] for row in rows(out)] == ["1", "2", "3"]
    assert "\x1b" not in out


def test_losses_fall_and_the_summary_line_repeats_the_best_and_the_last_row(capsys):
    _, out, _ = run(capsys, "train", "--epochs", "4")
    losses = [float(row[1]) for row in rows(out)]
    held_out = [row[3] for row in rows(out)]
    assert losses[-1] < losses[0] / 5
    top = max(held_out, key=lambda text: float(text[:-1]))
    assert f"best {top} after epoch {held_out.index(top) + 1}, last {held_out[-1]}" in out


@pytest.mark.parametrize("seed", range(5))
def test_the_default_recipe_reaches_96_5_percent_of_the_held_out_digits_within_30_epochs(capsys, seed):
    status, out, _ = run(capsys, "train", "--seed", str(seed), "--no-output")
    assert status == 0
    assert len(rows(out)) == 30
    assert best(out) >= 96.5


def test_the_seed_decides_the_whole_run(capsys):
    def without_times(out):
        return [row[:4] for row in rows(out)]

    first, again, other = (
        without_times(run(capsys, "train", "--epochs", "2", "--seed", seed)[1]) for seed in ("1", "1", "2")
    )
    assert first == again != other


@pytest.mark.parametrize("name", cli.OPTIMIZERS)
def test_every_optimizer_of_the_table_reaches_96_5_percent_at_its_default_rate(capsys, name):
    status, out, _ = run(capsys, "train", "--optimizer", name.lower(), "--no-output")
    assert status == 0
    shown = "Lookahead around SGD" if name == "Lookahead" else name
    assert f"{shown}(lr={cli.OPTIMIZERS[name]['lr']:g}" in out
    assert best(out) >= 96.5


def test_the_table_holds_every_optimizer_of_the_package():
    classes = {name for name in optim.__all__ if hasattr(getattr(optim, name), "step")}
    assert set(cli.OPTIMIZERS) == classes - {"Optimizer"}


def test_options_change_the_model_the_rate_and_the_batches(capsys):
    _, out, _ = run(capsys, "train", "--model", "64-16-8-10", "--lr", "0.05", "--batch-size", "1438", "--epochs", "1")
    assert f"{64 * 16 + 16 + 16 * 8 + 8 + 8 * 10 + 10:,} parameters" in out
    assert "SGD(lr=0.05, " in out


@pytest.mark.parametrize("name", sorted(cli.OPTIMIZERS))
def test_a_rate_of_0_is_allowed_as_by_every_optimizer_and_changes_nothing(capsys, name):
    status, out, err = run(capsys, "train", "--optimizer", name, "--lr", "0", "--epochs", "2", "--no-output")
    assert (status, err) == (0, "")
    first, second = rows(out)
    assert first[1:4] == second[1:4]


def test_a_toy_dataset_gets_a_model_that_fits_it(capsys):
    status, out, _ = run(capsys, "train", "--data", "moons", "--epochs", "40")
    assert status == 0
    assert f"{2 * 64 + 64 + 64 * 2 + 2:,} parameters" in out
    assert best(out) >= 95


@pytest.mark.parametrize("name", sorted(cli.OPTIMIZERS))
def test_numbers_as_labels_are_learned_with_every_optimizer_at_its_default_rate(capsys, name):
    status, out, err = run(capsys, "train", "--data", "cubic", "--optimizer", name, "--epochs", "60", "--no-output")
    assert (status, err) == (0, "")
    losses = [float(line.split()[2]) for line in out.splitlines() if re.match(r" +\d+  +\d", line)]
    assert losses[-1] < losses[0] / 3


def test_a_folder_of_idx_files_trains_on_one_part_and_tests_on_the_other(capsys, tmp_path):
    digits = data.load_digits()
    for part, chosen in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        pixels = (digits.features[chosen] * 255).astype(np.uint8)
        labels = digits.labels[chosen].astype(np.uint8)
        images_header = struct.pack(">4B3I", 0, 0, 8, 3, len(pixels), 8, 8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images_header + pixels.tobytes()))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + labels.tobytes()
        )
    status, out, _ = run(capsys, "train", "--data", str(tmp_path), "--epochs", "8")
    assert status == 0
    assert "300 rows" in out
    assert "100 held out" in out
    assert best(out) > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--verison",), "unknown argument '--verison'; did you mean '--version'?"),
        (("help", "trian"), "minigrad: unknown command 'trian'; did you mean 'train'?"),
        (("compare", "SGD", "--optimizer", "Adam"), "minigrad compare: unknown argument '--optimizer'"),
        (("trian",), "minigrad: unknown command 'trian'; did you mean 'train'?"),
        (("train", "--optimizer", "sdg"), "argument --optimizer: unknown optimizer 'sdg'; did you mean 'SGD'?"),
        (("train", "--data", "digit"), "unknown dataset 'digit'; did you mean 'digits'?"),
        (("train", "--optimiser", "SGD"), "unknown argument '--optimiser'; did you mean '--optimizer'?"),
        (("train", "--epoch=3"), "unknown argument '--epoch'; did you mean '--epochs'?"),
        (("train", "--lr", "-1"), "argument --lr: must be a finite number of 0 or more, not '-1'"),
        (("train", "--lr", "nan"), "argument --lr: must be a finite number of 0 or more, not 'nan'"),
        (("train", "--lr", "fast"), "argument --lr: must be a finite number of 0 or more, not 'fast'"),
        (("train", "--lr"), "argument --lr: expected one argument"),
        (("train", "--epochs", "0"), "argument --epochs: must be a whole number of 1 or more, not '0'"),
        (("train", "--batch-size", "2.5"), "argument --batch-size: must be a whole number of 1 or more, not '2.5'"),
        (("train", "--seed", "-1"), "argument --seed: must be a whole number of 0 or more, not '-1'"),
        (("train", "--model", "64"), "argument --model: must be sizes joined by dashes"),
        (("train", "--model", "64-0-10"), "argument --model: must be sizes joined by dashes"),
        (("train", "--model", "60-10"), "digits has 64 features and 10 outputs, so the sizes must start with 64"),
        (("train", "--model", "64-99999999999999-10"), "minigrad train: "),
        (("train", "--data", "sine", "--loss", "cross_entropy"), "needs class numbers"),
        (("train", "--data", "moons", "--loss", "mse_loss"), "needs numbers as labels"),
        (("train", "--data", "moons:nois=1"), "moons: unknown option 'nois'; did you mean 'noise'?"),
        (("train", "--loss", "mse_los"), "unknown loss 'mse_los'; did you mean 'mse_loss'?"),
        (("train", "--schedule", "StepL"), "unknown schedule 'StepL'; did you mean 'StepLR'?"),
        (("train", "--schedule", "StepLR"), "StepLR needs step_size"),
        (("train", "--schedule", "StepLR:step=2"), "StepLR: unknown option 'step'; did you mean 'step_size'?"),
        (("train", "--clip", "by_globl_norm:1"), "unknown clip 'by_globl_norm'; did you mean 'by_global_norm'?"),
        (("train", "--clip", "by_global_norm"), "by_global_norm needs max_norm"),
        (("train", "--clip", "by_value:-1"), "must be a number above 0"),
        (("train", "--betas", "0.9,0.99"), "SGD: unknown option 'betas'"),
        (("train", "--optimizer", "Adam", "--betas", "0.9"), "Adam: betas must be a pair of numbers"),
        (("train", "--optimizer-option", "momentm=1"), "SGD: unknown option 'momentm'; did you mean 'momentum'?"),
        (("train", "--lookahead", "l=3"), "unknown option of Lookahead 'l'"),
        (("train", "--model", "mlp:64,rellu"), "unknown part of a model 'rellu'; did you mean 'relu'?"),
        (("train", "--warmup", "99"), "as long as the whole run"),
        (("train", "--device", "cuad"), "unknown device 'cuad'; did you mean 'cuda'?"),
        (("train", "--dtype", "flaot32"), "unknown dtype 'flaot32'; did you mean 'float32'?"),
        (("train", "--name", "../x"), "a run is named with letters"),
        (("train", "--config", "no.toml"), "no.toml: cannot be read: no such file"),
        (("resume", "nowhere"), "minigrad resume: nowhere: no such folder"),
        (("resume", "."), "is not a run directory"),
        (("resume",), "the following arguments are required: RUN"),
        (("evaluate", "nowhere"), "minigrad evaluate: nowhere: no such folder"),
        (("compare", "Adm"), "minigrad compare: unknown optimizer 'Adm'; did you mean 'Adam'?"),
        (("compare", "Adam:beta=1"), "Adam: unknown option 'beta'; did you mean 'betas'?"),
        (("list", "optimisers"), "unknown section 'optimisers'; did you mean 'optimizers'?"),
        (("train", "--data", "/no/such/folder"), "/no/such/folder: no such folder"),
    ],
)
def test_wrong_usage_gives_one_line_that_says_what_is_wrong_and_status_2(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_a_rate_that_diverges_ends_with_a_message_and_status_1(capsys):
    status, _, err = run(capsys, "train", "--lr", "1e30", "--epochs", "5")
    assert status == 1
    assert re.search(r"the loss is (nan|inf) at step \d+ \(epoch \d\); layer '\d' .*; try a smaller --lr", err)
    assert err.count("\n") == 1


def test_an_interrupt_before_training_ends_with_status_130_and_without_a_traceback(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "stratified_split", interrupted)
    status, _, err = run(capsys, "train")
    assert status == 130
    assert err.strip() == "interrupted"


@pytest.mark.parametrize("words", [(), ("help",), ("--help",), ("-h",)])
def test_the_command_alone_lists_the_commands(capsys, words):
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    for command in parsers()[1]:
        assert re.search(rf"^    {command} +\w", out, re.MULTILINE)


def test_help_of_a_command_and_the_version(capsys):
    assert run(capsys, "help", "train") == run(capsys, "train", "--help")
    for option in ("--version", "-V"):
        assert run(capsys, option) == (0, f"minigrad {minigrad.__version__}\n", "")
    assert re.fullmatch(r"\d+\.\d+\.\d+", minigrad.__version__)


# What the defaults in help texts are called that are no value themselves.
IN_WORDS = {
    "loss": "the first for classes, the second for numbers",
    "schedule_every": "epoch; step for OneCycleLR and CyclicLR",
    "optimizer": "SGD; Lookahead is around SGD",
    "lr": "one that suits the optimizer; see minigrad list",
    "name": "dataset and optimizer",
    "record": "no recording",
    "threads": "one per core",
}


@pytest.mark.parametrize("command", ["train", "compare", "sweep"])
def test_the_defaults_that_help_states_are_those_of_a_run(command):
    """Every option that states one; those without a default state none."""
    used = {**complete({}), "model": DEFAULT_MODEL}
    words = IN_WORDS
    if command != "train":
        words = words | {"name": command, "executor": "threads", "seeds": str(SEEDS), "validation": str(VALIDATION)}
    stated = {}
    for action in parsers()[1][command]._actions:
        if found := re.search(r"\(default: (.*?)\)$|\(default: ([\w:.]+)\)", action.help or ""):
            stated[action.dest] = found[1] or found[2]
    for name, text in stated.items():
        assert text == words.get(name, str(used.get(name))), name
    silent = {
        "patience",
        "clip",
        "schedule",
        "lookahead",
        "optimizer_option",
        "config",
        "no_output",
        "checkpoint_every",
        "eager",
        "tune",
        "random",
        "stop_hopeless",
        *(["validation"] if command == "train" else []),
    }
    options = {a.dest for a in parsers()[1][command]._actions if a.option_strings} - {"help", "quiet"} - silent
    assert options - set(hyper_parameters()) | {"lr"} == set(stated)


def test_the_number_of_threads_by_default_is_as_help_says():
    assert "threads" not in complete({})
    code = "import minigrad; print(minigrad.get_num_threads())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(found.stdout) == cores


@pytest.mark.parametrize("labels", ["digits", "cubic"])
def test_the_hyper_parameters_that_help_states_are_those_that_are_used(labels):
    actions = {action.dest: action.help for action in parsers()[1]["train"]._actions}
    for name, optimizers in hyper_parameters().items():
        if name == "lr":
            continue
        stated = {}
        for part in actions[name].split("; "):
            names, _, value = part.partition(": ")
            alike, _, numbers = value.partition(", with numbers as labels ")
            stated |= dict.fromkeys(names.split(", "), numbers if numbers and labels == "cubic" else alike)
        for optimizer, default in optimizers.items():
            arguments = complete({"optimizer": optimizer, "data": labels})
            assert stated[optimizer] == show(arguments.get(name, default)), (name, optimizer)


@pytest.mark.parametrize("command", ["resume", "evaluate", "explain", "report"])
def test_commands_on_a_run_state_that_its_own_options_are_the_default(command):
    actions = {action.dest: action.help for action in parsers()[1][command]._actions}
    own = {"epochs", "device", "threads"} & set(actions)
    assert own
    assert all(actions[name].endswith("(default: as in the run)") for name in own)


def test_resuming_uses_the_epochs_and_threads_of_the_run(capsys, monkeypatch):
    from minigrad.cli import prepare

    assert run(capsys, "train", "--data", "moons", "--epochs", "3", "--threads", "1", "--no-output")[0] == 0
    assert run(capsys, "train", "--data", "moons", "--epochs", "3", "--threads", "1")[0] == 0
    seen = []
    monkeypatch.setattr(prepare, "set_num_threads", seen.append)
    assert "complete after 3 epochs" in run(capsys, "resume", "runs/moons-sgd-1")[1]
    assert seen == [1]


def test_the_epochs_and_seconds_of_a_summary_are_those_of_this_command(capsys):
    out = run(capsys, "train", "--data", "moons", "--epochs", "1")[1]
    assert re.search(r"; 1 epoch in [\d.]+ s$", out, re.MULTILINE)
    out = run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "3")[1]
    assert re.search(r"; 2 epochs in [\d.]+ s, 3 in all$", out, re.MULTILINE)


def test_help_names_every_option_and_every_optimizer(capsys):
    status, out, _ = run(capsys, "train", "--help")
    assert status == 0
    for word in ("--data", "--model", "--optimizer", "--lr", "--epochs", "--batch-size", "--seed", *cli.OPTIMIZERS):
        assert word in out


def test_on_a_terminal_there_is_a_line_of_progress_above_which_the_rows_stay(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    status, out, _ = run(capsys, "train", "--epochs", "2")
    assert status == 0
    assert "epoch 2/2" in out
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out).replace("\r", "\n")
    assert [row[0] for row in rows(plain)] == ["1", "2"]


# --- in a process of its own -----------------------------------------------------------------------------------------


def test_python_m_minigrad_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "minigrad", "train", "--epochs", "1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(rows(done.stdout)) == 1


@pytest.mark.slow
def test_output_that_cannot_hold_the_tables_lines_is_no_error():
    done = subprocess.run(
        [sys.executable, "-m", "minigrad", "train", "--epochs", "1"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_in_the_middle_of_training_is_clean():
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "minigrad", "train", "--epochs", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if rows(line):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"interrupted after step \d+; continue with: minigrad resume runs/digits-sgd-1\n", err)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="closes a pipe")
def test_a_reader_that_leaves_early_causes_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "minigrad", "train", "--epochs", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert err == ""


def test_a_wrong_command_line_is_answered_without_loading_anything_heavy():
    code = (
        "import sys; from minigrad import cli; status = cli.main(['train', '--lr', '-1']); "
        "sys.exit(3 if 'rich' in sys.modules or 'matplotlib' in sys.modules or 'numba' in sys.modules else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
