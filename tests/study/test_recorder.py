"""A recorder watches and leaves everything as it is: training, memory, files."""

import errno
import json
import math
import os

import numpy as np
import pytest
from optim_tools import bits
from training_cases import OPTIMIZERS, Case, same

from minigrad import Tensor, cli, clipping, data, manual_seed, nn, optim, random, study, training
from minigrad.study.records._activations import observe
from minigrad.training._run_directory import RunDirectory


def train(model, optimizer, steps, recorder=None, rows=6):
    rng = np.random.default_rng(5)
    for _ in range(steps):
        x = Tensor(rng.normal(size=(rows, 2)).astype(np.float32))
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        if recorder is not None:
            recorder.note(loss)
        loss.backward()
        optimizer.step()


def small(optimizer="Adam", **options):
    manual_seed(0)
    model = nn.MLP([2, 8, 3], dropout=0.2, norm="batch", **options)
    return model, OPTIMIZERS[optimizer](model.parameters())


# --- recording changes nothing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_the_same_to_the_last_bit(optimizer):
    states = []
    for recorded in (False, True):
        model, made = small(optimizer)
        if recorded:
            with study.Recorder(model, made, every=2) as recorder:
                train(model, made, 9, recorder)
            assert len(recorder.recording) == 5
        else:
            train(model, made, 9)
        gradients = [p.grad.data.copy() for p in model.parameters()]
        states.append(bits([model.state_dict(), made.state_dict(), gradients, random.get_state()]))
    assert states[0] == states[1]


def test_a_record_between_forward_and_backward_of_another_loss_does_not_disturb_it():
    model, optimizer = small()
    x = Tensor(np.ones((4, 2), np.float32))
    with study.Recorder(model, optimizer, every=1, probe=x):
        train(model, optimizer, 1)
        waiting = (model(x) ** 2).mean()
        versions = [p._version[0] for p in model.parameters()]
        observe(model, (x,))
        assert [p._version[0] for p in model.parameters()] == versions
        waiting.backward()  # raises if a parameter or buffer counted as changed


def test_hooks_modes_and_buffers_are_as_before_afterwards():
    model, optimizer = small()
    list(model.modules())[1].eval()
    modes = [module.training for module in model.modules()]
    buffers = bits(dict(model.named_buffers()))
    with study.Recorder(model, optimizer, every=1, probe=np.ones((4, 2), np.float32)):
        loss = (model.eval()(Tensor(np.ones((4, 2), np.float32))) ** 2).mean()
        for module, mode in zip(model.modules(), modes, strict=True):
            module.training = mode
        loss.backward()
        optimizer.step()
    assert [module.training for module in model.modules()] == modes
    assert bits(dict(model.named_buffers())) == buffers
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not optimizer._pre_hooks
    assert not optimizer._post_hooks


def test_a_model_that_counts_its_calls_in_a_buffer_does_not_count_the_probe():
    class Counting(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(2, 2)
            self.register_buffer("calls", Tensor(np.zeros(1, np.float32)))

        def forward(self, x):
            self.calls = Tensor(self.calls.data + 1)
            return self.linear(x)

    model = Counting()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with study.Recorder(model, optimizer, every=1):
        train(model, optimizer, 3)
    assert model.calls.item() == 3


def test_a_model_that_draws_and_counts_in_every_mode_is_put_back():
    class Noisy(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(2, 2)
            self.register_buffer("calls", Tensor(np.zeros(1, np.float32)))

        def forward(self, x):
            self.calls.data[...] += 1
            return self.linear(x + float(random.generator().standard_normal()))

    def trained(recorded):
        manual_seed(0)
        model = Noisy()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        if recorded:
            with study.Recorder(model, optimizer, every=1, probe=np.ones((4, 2), np.float32)):
                train(model, optimizer, 3)
        else:
            train(model, optimizer, 3)
        return bits([model.state_dict(), random.get_state()])

    assert trained(True) == trained(False)


def test_hooks_are_taken_off_also_after_an_error():
    model, optimizer = small()
    with pytest.raises(RuntimeError, match="on purpose"), study.Recorder(model, optimizer):
        raise RuntimeError("on purpose")
    assert not optimizer._pre_hooks
    assert not model._forward_pre_hooks


# --- when and what --------------------------------------------------------------------------------------------------


def test_the_first_step_and_every_interval_are_recorded_with_the_loss():
    model, optimizer = small("SGD")
    losses = []

    class Noting(study.Recorder):
        def note(self, loss):
            losses.append(loss.item())
            super().note(loss)

    with Noting(model, optimizer, every=4) as recorder:
        train(model, optimizer, 9, recorder)
    recording = recorder.recording
    assert recording.steps.tolist() == [1, 4, 8]
    assert recording.values("loss").tolist() == [losses[0], losses[3], losses[7]]
    np.testing.assert_allclose(recording.values("mean_loss"), [losses[0], np.mean(losses[1:4]), np.mean(losses[4:8])])
    assert recording.layers == ["0", "1", "4"]
    assert recording.header["layers"]["0"] == {
        "parameters": 24,
        "tensors": ["0.weight", "0.bias"],
        "frozen": False,
    }


def test_the_first_step_that_a_recorder_sees_is_recorded_whatever_its_number():
    model, optimizer = small()
    train(model, optimizer, 5)
    with study.Recorder(model, optimizer, every=4, max_records=3) as recorder:
        train(model, optimizer, 20)
    assert recorder.recording.steps.tolist() == [6, 16], "also where the interval has doubled"
    train(model, optimizer, 1)
    with recorder:
        train(model, optimizer, 2)
    assert recorder.recording.steps.tolist() == [6, 16], "one that goes on has its first record"


def test_chosen_layers_alone_are_recorded():
    model, optimizer = small()
    with study.Recorder(model, optimizer, every=1, layers=["4"]) as recorder:
        train(model, optimizer, 2)
    assert recorder.recording.layers == ["4"]
    assert list(recorder.recording.records[0]["layers"]) == ["4"]
    with pytest.raises(KeyError, match="unknown layer '9'"):
        recorder.recording.layer("9", "update_ratio")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"every": 0}, ValueError, "every must be a whole number of 1 or more"),
        ({"every": 2.0}, TypeError, "every must be a whole number"),
        ({"max_records": 1}, ValueError, "max_records must be a whole number of 2 or more"),
        ({"layers": ["hiden"]}, ValueError, "unknown layer 'hiden'"),
        ({"layers": "0"}, ValueError, r"layers is a list of names, \['0'\]"),
        ({"layers": 5}, TypeError, "layers is a list of names, not 5"),
        ({"layers": []}, ValueError, "layers is an empty list; leave it out to record every layer"),
        ({"layers": [5]}, TypeError, "layers are given by name, such as '0', not 5"),
        ({"path": "."}, IsADirectoryError, "is a folder; name a file"),
        ({"probe": 3}, TypeError, "probe must be an array or a tensor with rows"),
        ({"probe": np.zeros((0, 2))}, TypeError, "probe must be an array or a tensor with rows"),
        ({"evry": 3}, TypeError, "evry"),
    ],
)
def test_wrong_arguments_are_refused(options, error, words):
    model, optimizer = small()
    with pytest.raises(error, match=words):
        study.Recorder(model, optimizer, **options)


@pytest.mark.parametrize("name", ["Adam", "Lookahead pullback"])
def test_a_model_and_its_optimizer_belong_together(name):
    model, optimizer = small(name)
    rebuilt, _ = small()
    with pytest.raises(ValueError, match=r"holds no parameter of this model.* from model\.parameters\(\)"):
        study.Recorder(rebuilt, optimizer)
    for wrong in ((optimizer, model), (model, model), ("mlp", optimizer)):
        with pytest.raises(TypeError, match=r"takes a model and its optimizer, Recorder\(model, optimizer\), not \("):
            study.Recorder(*wrong)
    study.Recorder(model, optimizer)


def test_a_probe_that_the_model_does_not_take_is_named_and_the_step_not_taken():
    model, optimizer = small()
    with study.Recorder(model, optimizer, probe=np.ones((4, 7), np.float32)):
        before = bits([p.data for p in model.parameters()])
        with pytest.raises(ValueError, match=r"cannot be run on the probe, \(4, 7\) float32; give one that the model"):
            train(model, optimizer, 1)
    assert (bits([p.data for p in model.parameters()]), optimizer.steps) == (before, 0)


def test_a_recorder_is_attached_once_and_detached_as_often_as_one_likes():
    model, optimizer = small()
    recorder = study.Recorder(model, optimizer, every=1).attach()
    with pytest.raises(RuntimeError, match="already recording"):
        recorder.attach()
    train(model, optimizer, 1)
    recorder.detach()
    recorder.detach()
    train(model, optimizer, 1)
    with recorder:
        train(model, optimizer, 1)
    assert recorder.recording.steps.tolist() == [1, 3]


def test_memory_is_bounded_by_doubling_the_interval():
    model, optimizer = small("SGD plain")
    with study.Recorder(model, optimizer, every=1, max_records=10, probe=False) as recorder:
        train(model, optimizer, 100)
    assert len(recorder.recording) <= 10
    assert recorder.interval == 16
    assert recorder.recording.steps.tolist() == [1, 16, 32, 48, 64, 80, 96]
    assert recorder.recording.clips()[-1]["steps"] == 96, "records that are dropped take no count with them"


def test_recording_prints_what_it_costs():
    model, optimizer = small()
    recorder = study.Recorder(model, optimizer, every=2)
    assert "none yet" in str(recorder)
    with recorder:
        train(model, optimizer, 5)
    assert "3 of 5 steps recorded (every 2)" in str(recorder)
    assert recorder.cost.spent > 0
    spent, elapsed = recorder.cost.spent, recorder.cost.elapsed
    assert recorder.cost.share() == pytest.approx(spent / (elapsed - spent), rel=0.5)
    assert "would bring it below 5%" in str(recorder), "so small a model is cheap beside its record"


# --- under fit, and in files ----------------------------------------------------------------------------------------


def recorded(folder, optimizer="AdamW", every=3, **settings):
    case = Case(folder, optimizer, **settings)
    return case, study.Recorder(case.model, case.optimizer, every, path=folder / "record.jsonl")


def test_fit_tells_the_loss_and_the_probe(tmp_path):
    case, recorder = recorded(tmp_path)
    case.go(2, callbacks=[recorder])
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in steps}
    recording = recorder.recording
    assert recording.values("loss").tolist() == [losses[s] for s in recording.steps]
    np.testing.assert_allclose(recording.values("mean_loss")[1], np.mean([losses[2], losses[3]]))
    assert recording.header["probe_rows"] == len(case.loader.dataset)
    assert not case.optimizer._post_hooks


@pytest.mark.parametrize("optimizer", ["AdamW", "Lookahead pullback", "LAMB", "SGD plain"])
@pytest.mark.parametrize("stop", [1, 4, 6, 7])
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path, optimizer, stop):
    whole, recorder = recorded(tmp_path / "whole", optimizer)
    whole.go(3, callbacks=[recorder])
    first, recorder = recorded(tmp_path / "halves", optimizer, every=3)
    first.go(3, stop_after=stop, callbacks=[recorder])
    with (tmp_path / "halves" / "record.jsonl").open("a") as file:
        file.write('{"step":99}\n{"torn')  # what a killed process wrote after its last checkpoint
    again, recorder = recorded(tmp_path / "halves", optimizer, every=3)
    again.go(3, resume=first.last(), callbacks=[recorder])
    files = [(tmp_path / name / "record.jsonl").read_bytes() for name in ("whole", "halves")]
    assert files[0] == files[1]
    assert len(recorder.recording) == len(files[0].splitlines()) - 1
    assert same(whole.run.state_dict()["model"], again.run.state_dict()["model"])


def test_a_recorder_that_goes_on_without_its_records_keeps_the_interval():
    model, optimizer = small()
    with study.Recorder(model, optimizer, every=4) as recorder:
        train(model, optimizer, 5)
    again = study.Recorder(model, optimizer, every=4)
    again.load_state_dict(recorder.state_dict())
    with again:
        train(model, optimizer, 4)
    assert again.recording.steps.tolist() == [8]


def test_a_checkpoint_of_another_recorder_is_refused(tmp_path):
    case, recorder = recorded(tmp_path, "SGD plain")
    case.go(1, callbacks=[recorder])
    for every, words in ((2, "the interval 3 is not 2 doubled"), (6, "the interval 3 is not 6 doubled")):
        other, recorder = recorded(tmp_path, "SGD plain", every=every)
        with pytest.raises(training.CheckpointError, match=words):
            other.go(1, resume=case.last(), callbacks=[recorder])
    good = study.Recorder(case.model, case.optimizer, 3).state_dict()
    for changed in ({"length": -1}, {"interval": 0}, {"losses": 3}, {"counted": []}, {"acted": [0.5]}, {"more": 1}):
        with pytest.raises((ValueError, TypeError)):
            study.Recorder(case.model, case.optimizer, 3).load_state_dict({**good, **changed})


def test_two_processes_do_not_write_one_record(tmp_path):
    model, optimizer = small()
    with study.Recorder(model, optimizer, path=tmp_path / "record.jsonl"):
        other = study.Recorder(*small(), path=tmp_path / "record.jsonl")
        with pytest.raises(ValueError, match=r"record\.jsonl: another process is writing"):
            other.attach()
    assert not other.optimizer._post_hooks


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        study.Recorder(*small(), path=tmp_path / "nowhere" / "record.jsonl").attach()


def test_a_file_that_is_there_is_not_replaced(saved, tmp_path):
    (tmp_path / "notes.txt").write_text("all my notes\n")
    for path in (tmp_path / "notes.txt", saved[1]):
        held = path.read_bytes()
        model, optimizer = small("LAMB")
        with pytest.raises(FileExistsError, match=f"{path.name}: already exists.* delete it, or choose another path"):
            study.Recorder(model, optimizer, path=path).attach()
        assert path.read_bytes() == held
        assert not optimizer._post_hooks
    (tmp_path / "empty.jsonl").touch()
    with study.Recorder(model, optimizer, 1, path=tmp_path / "empty.jsonl") as recorder:
        train(model, optimizer, 1)
    with recorder:
        train(model, optimizer, 1)
    assert study.Recording.load(tmp_path / "empty.jsonl").steps.tolist() == [1, 2]


def test_a_run_that_goes_on_from_its_beginning_writes_its_file_anew(tmp_path):
    model, optimizer = small()
    before = study.Recorder(model, optimizer, 1, path=tmp_path / "record.jsonl")
    state = before.state_dict()
    with before:
        train(model, optimizer, 2)
    again = study.Recorder(*small(), 1, path=tmp_path / "record.jsonl")
    again.load_state_dict(state)
    with again:
        train(again.model, again.optimizer, 1)
    assert study.Recording.load(tmp_path / "record.jsonl").steps.tolist() == [1]


def test_a_run_that_goes_on_cuts_no_file_but_its_own(saved, tmp_path):
    (tmp_path / "notes.txt").write_text("all my notes\n" * 1000)
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_bytes(saved[1].read_bytes().replace(b'"update_norm":', b'"update_norm":"', 1))
    for length in (0, 100, 13_000):
        for path, error in ((tmp_path / "notes.txt", FileExistsError), (damaged, study.RecordingError)):
            if path == damaged and length < 13_000:
                continue
            recorder = study.Recorder(*small("LAMB"), 1, path=path)
            recorder.load_state_dict({**recorder.state_dict(), "length": length})
            held = path.read_bytes()
            with pytest.raises(error, match=path.name):
                recorder.attach()
            assert path.read_bytes() == held
            assert not recorder.optimizer._post_hooks


@pytest.mark.parametrize("written", [0, 5, 40])
def test_a_recorder_that_was_killed_at_its_first_line_writes_it_anew(saved, tmp_path, written):
    (tmp_path / "cut.jsonl").write_bytes(saved[1].read_bytes()[:written])
    recorder = study.Recorder(*small(), 1, path=tmp_path / "cut.jsonl")
    recorder.load_state_dict(recorder.state_dict())
    with recorder:
        train(recorder.model, recorder.optimizer, 1)
    assert study.Recording.load(tmp_path / "cut.jsonl").steps.tolist() == [1]


def test_the_first_loss_that_is_not_finite_is_recorded_whatever_the_interval():
    model, optimizer = small()
    with study.Recorder(model, optimizer, every=100, max_records=4) as recorder:
        for step in range(1, 1001):
            recorder.note(np.nan if step > 30 else 1.0)
            optimizer.step()
    assert recorder.recording.steps[:2].tolist() == [1, 31]
    assert np.isnan(recorder.recording.values("loss")[1])
    assert len(recorder.recording) <= 5
    assert any("loss" in finding.sentence and finding.severity == "error" for finding in study.findings(recorder))
    again = study.Recorder(model, optimizer, every=100, max_records=4)
    again.load_state_dict(recorder.state_dict())
    with again:
        again.note(np.nan)
        optimizer.step()
    assert len(again.recording) == 0


def test_the_file_keeps_what_memory_drops(tmp_path):
    model, optimizer = small()
    with study.Recorder(model, optimizer, 1, max_records=4, path=tmp_path / "record.jsonl") as recorder:
        train(model, optimizer, 12, recorder)
    assert recorder.recording.steps.tolist() == [1, 4, 8, 12]
    held = study.Recording.load(tmp_path / "record.jsonl")
    assert held.steps.tolist() == [1, 2, 3, 4, 5, 6, 8, 12]
    assert held.records[-1] == recorder.recording.records[-1]


def test_a_full_disk_ends_the_file_and_not_the_training(tmp_path, monkeypatch):
    model, optimizer = small()
    recorder = study.Recorder(model, optimizer, every=1, path=tmp_path / "record.jsonl").attach()
    train(model, optimizer, 3, recorder)
    recorder.state_dict()  # brings them to the disk

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    train(model, optimizer, 2, recorder)
    with pytest.warns(
        RuntimeWarning, match=r"record\.jsonl.*; recording continues in memory only: save it elsewhere with"
    ):
        recorder.state_dict()
    train(model, optimizer, 1, recorder)
    recorder.detach()
    with recorder:
        train(model, optimizer, 1, recorder)
    assert recorder.recording.steps.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert study.Recording.load(tmp_path / "record.jsonl").steps.tolist()[:3] == [1, 2, 3]
    monkeypatch.undo()
    assert len(study.Recording.load(recorder.recording.save(tmp_path / "elsewhere.jsonl"))) == 7


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_disk_that_is_full_from_the_beginning_is_named_once():
    model, optimizer = small()
    with (
        pytest.warns(RuntimeWarning, match=r"No space left on device.*/dev/full.*in memory only") as warned,
        study.Recorder(model, optimizer, every=1, path="/dev/full") as recorder,
    ):
        train(model, optimizer, 150, recorder)
    assert len(warned) == 1
    assert len(recorder.recording) == 150


def test_under_fit_a_full_disk_is_an_error(tmp_path, monkeypatch):
    model, optimizer = small()
    loader = data.DataLoader(data.Dataset(np.ones((8, 2), "f"), np.zeros(8, int)), batch_size=4)
    recorder = study.Recorder(model, optimizer, every=1, path=tmp_path / "record.jsonl")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*record\.jsonl"):
        training.fit(model, optimizer, loader, epochs=1, callbacks=[recorder])


@pytest.mark.parametrize(
    ("loss", "error", "shown"),
    [("x", ValueError, "'x'"), ([1], TypeError, r"\[1\]"), (Tensor([1.0, 2.0]), ValueError, r"of shape \(2,\)")],
)
def test_a_loss_that_is_no_number_is_refused(loss, error, shown):
    with pytest.raises(error, match=f"Recorder: note takes a loss, a number or a tensor with one, not .*{shown}"):
        study.Recorder(*small()).note(loss)


def test_a_step_that_is_taken_again_is_recorded_once(tmp_path):
    model, optimizer = small()
    recorder = study.Recorder(model, optimizer, every=1, path=tmp_path / "record.jsonl")
    with recorder:
        train(model, optimizer, 3, recorder)
        state = optimizer.state_dict()
        recorder.note(np.nan)
    assert recorder.recording.steps.tolist() == [1, 2, 3, 4], "the last was not taken"
    with recorder:
        train(model, optimizer, 3, recorder)
        optimizer.load_state_dict(state)
        optimizer.steps = 3
        train(model, optimizer, 4, recorder)
    assert recorder.recording.steps.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert study.Recording.load(tmp_path / "record.jsonl").steps.tolist() == [1, 2, 3, 4, 5, 6, 7]
    idle = study.Recorder(model, optimizer)
    idle.note(np.nan)
    idle.detach()
    assert len(idle.recording) == 0


def test_the_command_refuses_a_recording_without_files(capsys):
    assert cli.main(["train", "--record", "--no-output"]) == 2
    assert "--record writes a file and --no-output none; omit one of them" in capsys.readouterr().err


def test_the_command_records_and_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--data", "blobs:samples=60", "--model", "mlp:4", "--epochs", "2", "--quiet", "--optimizer", "Adam"]
    assert cli.main(["train", *common, "--record", "2"]) == 0
    directory = RunDirectory.open("runs/blobs-adam-1")
    assert "record.jsonl" in directory.files()
    assert study.Recording.load(directory.record).steps.tolist() == [1, 2, 4]
    assert cli.main(["resume", str(directory.path), "--epochs", "5", "--quiet"]) == 0
    assert study.Recording.load(directory.record).steps.tolist() == [1, 2, 4, 6, 8, 10]
    assert cli.main(["train", *common]) == 0
    assert "record.jsonl" not in RunDirectory.open("runs/blobs-adam-2").files()
    assert sorted(os.listdir("runs")) == ["blobs-adam-1", "blobs-adam-2"]


# --- recordings -------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    model, optimizer = small("LAMB")
    with study.Recorder(model, optimizer, every=1, path=tmp_path / "record.jsonl") as recorder:
        train(model, optimizer, 4, recorder)
    return recorder.recording, tmp_path / "record.jsonl"


def test_a_recording_reads_back_as_it_was_written(saved, tmp_path):
    recording, path = saved
    for again in (study.Recording.load(path), study.Recording.load(recording.save(tmp_path / "copy.jsonl"))):
        assert again.header == recording.header
        assert again.records == recording.records
    assert path.read_bytes() == (tmp_path / "copy.jsonl").read_bytes()


def test_a_misspelled_quantity_is_refused_and_an_absent_one_is_nan(saved):
    recording, _ = saved
    with pytest.raises(KeyError, match="did you mean 'update_ratio'"):
        recording.layer("0", "update_ration")
    with pytest.raises(KeyError, match="did you mean 'loss'"):
        recording.values("los")
    with pytest.raises(KeyError, match="did you mean 'saturated'"):
        recording.activation("0", "saturatd")
    for path, words in (
        ("scalars.foo", r"'scalars\.foo'"),
        ("scalars.lrr", r"did you mean 'scalars\.lr'"),
        ("scalars", r"did you mean 'scalars\.lr'"),
        ("state_norm.exp_av", r"did you mean 'state_norm\.exp_avg'"),
        ("trust.0.weight.rato", r"did you mean 'trust\.0\.weight\.ratio'"),
        ("nonfinite.gradients", r"did you mean 'nonfinite\.gradient'"),
        ("update_ratio.x", "did you mean 'update_ratio'"),
    ):
        with pytest.raises(KeyError, match=words):
            recording.layer("0", path)
    assert np.isfinite(recording.layer("0", "trust.0.weight.ratio")).all(), "a parameter's name has dots itself"
    assert np.isnan(recording.layer("0", "scalars.rho")).all(), "of another optimizer"
    assert np.isnan(recording.layer("0", "nonfinite.exp_avg")).all(), "nothing was"
    with pytest.raises(IndexError, match="there is no clip 3; LAMB has 0, counted from 0"):
        recording.clips(3)
    assert np.isnan(recording.layer("0", "slow_part")).all()
    assert recording.clips() == []


def test_numbers_that_are_not_finite_survive(tmp_path):
    record = {"step": 1, "loss": math.inf, "layers": {"a": {"gradient_norm": math.nan, "signal": [-math.inf, 1.0]}}}
    header = {"format": "minigrad record", "version": 1, "optimizer": "SGD", "layers": {"a": {}}}
    path = study.Recording(header, [record]).save(tmp_path / "r.jsonl")
    json.loads(path.read_text().splitlines()[1], parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    again = study.Recording.load(path)
    assert again.values("loss")[0] == math.inf
    assert math.isnan(again.layer("a", "gradient_norm")[0])
    assert again.layer("a", "signal").tolist() == [[-math.inf, 1.0]]


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (1, "", "line 1: is not readable JSON"),
        (1, "[1]", "line 1: is damaged: it is not a record"),
        (1, '{"format": "minigrad run"}', "is not a recording"),
        (1, '{"format": "minigrad record", "version": 99}', "newer minigrad"),
        (1, '{"format": "minigrad record", "version": 1, "layers": []}', "line 1: is damaged"),
        (3, "{", "line 3: is not readable JSON"),
        (3, "[" * 100000, "line 3: "),
        (3, '{"step": 1, "layers": {}}', "line 3: is damaged: its step is 1, after 1"),
        (3, '{"step": true, "layers": {}}', "line 3: is damaged: True is not a count \\(step"),
        (3, '{"step": 2, "layers": {"a": 1}}', "line 3: is damaged: 1 is not a table \\(layers, a\\)"),
        (3, '{"step": 2, "layers": {"a": {"x": "<script>"}}}', "line 3: is damaged: '<script>' is not a number"),
        (3, '{"step": 2, "layers": {}, "clips": [{"clip": 1}]}', "line 3: is damaged: scope is missing \\(clips, 0\\)"),
        (
            3,
            '{"step": 2, "layers": {"a": {"trust": {"w": 1}}}}',
            "line 3: is damaged: 1 is not a table \\(layers, a, trust, w\\)",
        ),
        (3, '{"step": 2, "layers": {"a": {"scalars": {"lr": [1]}}}}', "is not a number \\(layers, a, scalars, lr\\)"),
        (
            3,
            '{"step": 2, "layers": {"a": {"nonfinite": {"update": [1]}}}}',
            "line 3: is damaged: .* is not a list of 2",
        ),
        (
            3,
            '{"step": 2, "layers": {}, "activations": {"a": {"dead": -1}}}',
            "-1 is not a count \\(activations, a, dead\\)",
        ),
        (1, '{"format": "minigrad record", "version": 1, "layers": {}}', "optimizer is missing"),
        (3, '{"step": 2, "layers": {}, "loss": [1]}', "line 3: is damaged: .* is not a number"),
        (3, '{"step": 2, "layers": {}, "loss": {"$array": "x"}}', "line 3: is not readable JSON"),
    ],
)
def test_damaged_files_are_named_with_the_line(saved, line, text, words):
    _, path = saved
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(study.RecordingError, match=words) as caught:
        study.Recording.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_cut_anywhere_is_read_up_to_there_or_refused(saved):
    recording, path = saved
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        if not complete:
            with pytest.raises(study.RecordingError, match="is empty"):
                study.Recording.load(path)
        else:
            assert study.Recording.load(path).records == recording.records[: complete - 1]
    path.write_bytes(whole + b"\xff\xfe\n")
    with pytest.raises(study.RecordingError, match="it is not text"):
        study.Recording.load(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        study.Recording.load(path.with_name("other.jsonl"))


def test_clips_that_skip_a_step_leave_a_record_that_says_so():
    model = nn.Sequential(nn.Linear(2, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1, clip=clipping.by_global_norm(1.0, nonfinite="skip"))
    with study.Recorder(model, optimizer, every=1) as recorder:
        train(model, optimizer, 1)
        model[0].weight.grad = Tensor(np.full((2, 2), np.nan, np.float32))
        optimizer.step()
    first, second = recorder.recording.records
    assert first["stepped"]
    assert not second["stepped"]
    assert second["layers"]["0"]["update_norm"] == 0
    assert second["layers"]["0"]["nonfinite"]["gradient"] == [4, 0]


def test_a_dataset_gives_evenly_spread_rows_as_the_probe():
    features = np.arange(1000, dtype=np.float32).reshape(1000, 1)
    manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 1))
    optimizer = optim.SGD(model.parameters(), lr=1e-9)
    recorder = study.Recorder(model, optimizer, every=10)
    loader = data.DataLoader(data.Dataset(features, features), batch_size=100)
    training.fit(model, optimizer, loader, 1, loss=nn.functional.mse_loss, callbacks=[recorder])
    (probe,) = recorder.probe
    assert probe.shape == (128, 1)
    assert probe.data[0, 0] == 0
    assert probe.data[-1, 0] == 999
