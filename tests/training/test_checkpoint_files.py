"""Damaged, foreign and hostile files: one clear error that names the file, and nothing half-loaded."""

import hashlib
import json
import os
import resource
import struct
import tracemalloc

import numpy as np
import pytest
from training_cases import Case, same

from minigrad import nn, training
from minigrad.training.checkpoint import save_checkpoint
from minigrad.training.tensorfile import read_tensors, write_tensors


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A checkpoint after 7 steps, which the tests damage."""
    case = Case(tmp_path_factory.mktemp("good") / "run", "LAMB", "StepLR", dropout=0.1)
    case.go(3, stop_after=7)
    assert case.last().name == "step-000000007.safetensors"
    return case.last().read_bytes()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A run of the same kind that stands elsewhere, so that half a load would show."""
    case = Case(tmp_path_factory.mktemp("damage") / "run", "LAMB", "StepLR", dropout=0.1)
    case.go(3, stop_after=13)
    case.before = case.run.state_dict()
    return case


def load(case, path, data):
    """Load bytes as a checkpoint of the case's run; they must be refused, and leave the run as it was."""
    path.write_bytes(data)
    with pytest.raises(training.CheckpointError) as caught:
        training.load_checkpoint(path, case.run)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert same(case.run.state_dict(), case.before)
    return str(caught.value)


def signed(data):
    """The same bytes under a right checksum: what a hostile writer would make."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    document = json.loads(header["__metadata__"]["minigrad"])
    return resigned(header, document, data[8 + length :])


def resigned(header, document, values):
    zeros = "0" * 64
    header["__metadata__"] = {"minigrad": json.dumps({**document, "sha256": zeros})}
    text = json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text + values
    digest = hashlib.sha256(data).hexdigest()
    return data.replace(zeros.encode(), digest.encode(), 1)


def parts(data):
    """Header, document and values."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    document = json.loads(header.pop("__metadata__")["minigrad"])
    return header, document, data[8 + length :]


def test_the_checkpoint_that_the_tests_damage_is_a_good_one(case, good, tmp_path):
    for number, data in enumerate((good, signed(good))):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(data)
        training.load_checkpoint(path, case.run)
        assert case.run.progress.step == 7
        case.run.load_state_dict(case.before)


def test_every_truncation_is_refused(case, good, tmp_path):
    path = tmp_path / "cut.safetensors"
    rng = np.random.default_rng(0)
    lengths = {*range(200), *rng.integers(0, len(good), 800).tolist(), len(good) - 1}
    for length in lengths:
        load(case, path, good[:length])


@pytest.mark.slow
def test_every_flipped_bit_is_refused(case, good, tmp_path):
    path = tmp_path / "flipped.safetensors"
    rng = np.random.default_rng(1)
    places = [*range(8 * 64), *rng.integers(0, 8 * len(good), 2500).tolist()]
    for place in places:
        data = bytearray(good)
        data[place // 8] ^= 1 << place % 8
        load(case, path, bytes(data))


@pytest.mark.slow
def test_bytes_that_were_replaced_inserted_or_doubled_are_refused(case, good, tmp_path):
    path = tmp_path / "changed.safetensors"
    rng = np.random.default_rng(2)
    for _ in range(1000):
        start, length = int(rng.integers(0, len(good))), int(rng.integers(1, 200))
        noise = rng.bytes(length)
        for data in (
            good[:start] + noise + good[start + length :],
            good[:start] + noise + good[start:],
            good[:start] + good[max(0, start - length) :],
        ):
            if data != good:
                load(case, path, data)


def test_random_bytes_and_other_kinds_of_files_are_no_checkpoints(case, tmp_path):
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    foreign = [b"", b"\0", b"\0" * 5000, b"{}", b"PK\3\4", (tmp_path / "a.npz").read_bytes(), b"\x80\x04K\x01."]
    for data in [*foreign, *(rng.bytes(int(n)) for n in rng.integers(1, 3000, 500))]:
        load(case, tmp_path / "foreign.safetensors", data)


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**40, 10**8, 2**31])
def test_an_enormous_declared_header_takes_no_memory(case, good, tmp_path, length):
    tracemalloc.start()
    message = load(case, tmp_path / "big.safetensors", struct.pack("<Q", length) + good[8:])
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert "declares a header of" in message


@pytest.mark.parametrize("shape", [[2**40], [2**20] * 3, [2**47] * 31, [-1], [1.5], [True], "x", None, [1] * 99])
def test_an_array_of_an_enormous_or_impossible_shape_takes_no_memory(case, good, tmp_path, shape):
    header, document, values = parts(good)
    next(iter(header.values()))["shape"] = shape
    tracemalloc.start()
    load(case, tmp_path / "big.safetensors", resigned(header, document, values))
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_file_larger_than_the_model_can_need_is_not_read(case, good, tmp_path):
    path = tmp_path / "sparse.safetensors"
    path.write_bytes(good)
    os.truncate(path, 1 << 40)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(training.CheckpointError, match=r"more than the [0-9,]+ that it can need"):
        training.load_checkpoint(path, case.run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < used + 50_000


def changed(path, value):
    """A change of the document at a path of keys."""

    def change(header, document):
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def swapped_arrays(header, document):
    names = [n for n in header if header[n]["shape"] == [8, 2]][:2]
    header[names[0]]["data_offsets"], header[names[1]]["data_offsets"] = (
        header[names[1]]["data_offsets"],
        [0, 4],
    )


def path_trick(header, document):
    header["../../../../etc/passwd"] = header.pop("model/0.weight")


def foreign_dtype(header, document):
    header["model/0.weight"]["dtype"] = "BF16"


HOSTILE = {
    "newer version": (changed(["version"], 2), "was written by a newer minigrad"),
    "no version": (changed(["version"], "one"), "version"),
    "version true": (changed(["version"], True), "version"),
    "another format": (changed(["format"], "weights"), "is not a checkpoint"),
    "no state": (changed(["state"], None), "holds no state"),
    "state is a list": (changed(["state"], []), "holds no state"),
    "arrays overlap": (swapped_arrays, "damaged"),
    "path tricks": (path_trick, "is missing"),
    "foreign dtype": (foreign_dtype, "data type"),
    "array elsewhere": (changed(["state", "model", "0.weight"], {"$array": "/etc/passwd"}), "is missing"),
    "array of another name": (changed(["state", "model", "0.weight"], {"$array": "model/0.bias"}), "misshapen"),
    "array is a number": (changed(["state", "model", "0.weight"], 3), "misshapen"),
    "array is a table": (changed(["state", "model", "0.weight"], {"a": 1}), ""),
    "unknown number": (changed(["state", "progress", "loss"], {"$number": "1e999"}), "is not a number"),
    "unknown key": (changed(["state", "evil"], 1), "unexpected 'evil'"),
    "optimizer of another kind": (changed(["state", "optimizer", "optimizer"], "SGD"), "is of SGD"),
    "groups are a number": (changed(["state", "optimizer", "param_groups"], 7), ""),
    "a group is text": (changed(["state", "optimizer", "param_groups"], ["x"]), ""),
    "an impossible rate": (changed(["state", "optimizer", "param_groups", 0, "lr"], -1.0), "lr"),
    "an unknown option": (changed(["state", "optimizer", "param_groups", 0, "evil"], 1), "evil"),
    "negative step": (changed(["state", "optimizer", "state", "0.weight", "step"], -1), "step"),
    "step is text": (changed(["state", "optimizer", "state", "0.weight", "step"], "1"), "step"),
    "loader of other rows": (changed(["state", "loader", "rows"], 10**9), "rows"),
    "loader beyond its end": (changed(["state", "loader", "batch"], 10**9), "batch"),
    "random state is text": (changed(["state", "random"], "x"), ""),
    "random state of another kind": (changed(["state", "random", "bit_generator"], "MT19937"), ""),
    "random state too large": (changed(["state", "random", "state", "state"], 10**400), ""),
    "negative progress": (changed(["state", "progress", "step"], -3), "step"),
    "history too short": (changed(["state", "progress", "history"], []), "history"),
    "history of text": (changed(["state", "progress", "history"], [{"train_loss": "x"}]), "history"),
    "schedulers missing": (changed(["state", "schedulers"], []), "schedulers"),
    "scheduler of another kind": (changed(["state", "schedulers", 0, "scheduler"], "CyclicLR"), "CyclicLR"),
    "schedule of other numbers": (
        changed(["state", "schedulers", 0, "schedules"], {"lr": "StepDecay(9, 9)"}),
        "schedule",
    ),
    "scheduler at no epoch": (changed(["state", "schedulers", 0, "epoch"], -1), ""),
    "callbacks of another kind": (changed(["state", "callbacks", 0, "kind"], "Evil"), "Evil"),
    "negative log": (changed(["state", "callbacks", 0, "lengths"], {"steps.jsonl": -1, "metrics.csv": 0}), "lengths"),
    "another log": (changed(["state", "callbacks", 0, "lengths"], {"../../x": 1}), "lengths"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_with_a_right_checksum_is_refused(case, good, tmp_path, kind):
    change, words = HOSTILE[kind]
    header, document, values = parts(good)
    change(header, document)
    assert words in load(case, tmp_path / "hostile.safetensors", resigned(header, document, values))


def leaves(tree, path=()):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from leaves(value, (*path, key))


def test_any_value_of_the_document_replaced_by_any_other_is_refused_or_loaded_whole(case, good, tmp_path):
    """A value may be another possible one, such as another rate; all else is an error, and never half of it."""
    path = tmp_path / "hostile.safetensors"
    header, document, values = parts(good)
    text = json.dumps(document["state"])
    strange = [None, True, -1, 10**30, 1e308, "x", "", [], {}, [[]], {"$array": "model/0.weight"}, {"$number": "nan"}]
    before = case.before
    rng = np.random.default_rng(4)
    refused = 0
    for place in list(leaves(document["state"])):
        for value in (strange[i] for i in rng.choice(len(strange), 2, replace=False)):
            state = json.loads(text)
            changed(place, value)({}, state)
            path.write_bytes(resigned(dict(header), {**document, "state": state}, values))
            try:
                training.load_checkpoint(path, case.run)
            except training.CheckpointError as error:
                message = str(error)
            else:
                case.run.load_state_dict(before)
                continue
            refused += 1
            assert str(path) in message
            assert same(case.run.state_dict(), before), place
    assert refused > 200


def test_a_document_nested_too_deeply_is_refused(case, good, tmp_path):
    header, document, values = parts(good)
    text = json.dumps(
        json.dumps({**document, "sha256": "0" * 64})[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    )
    header_text = (json.dumps(header)[:-1] + ', "__metadata__": {"minigrad": ' + text + "}}").encode()
    data = struct.pack("<Q", len(header_text)) + header_text + values
    load(case, tmp_path / "deep.safetensors", data)


def test_a_checkpoint_of_another_model_says_what_does_not_fit(case, good, tmp_path):
    other = Case(tmp_path / "other", "LAMB", "StepLR", dropout=0.0)
    other.go(1)
    case.run.load_state_dict(case.before)
    message = load(case, tmp_path / "x.safetensors", other.last().read_bytes())
    assert "missing: " in message or "unexpected" in message


def test_what_is_no_file_is_refused(case, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.safetensors: no such file"):
        training.load_checkpoint(tmp_path / "nothing.safetensors", case.run)
    with pytest.raises(training.CheckpointError, match="is not a regular file"):
        training.load_checkpoint(tmp_path, case.run)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(training.CheckpointError, match="is not a regular file"):
        training.load_checkpoint(tmp_path / "pipe", case.run)


# --- weights ---------------------------------------------------------------------------------------------------------


def test_weights_have_pytorchs_names_and_load_there(tmp_path):
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    model = nn.MLP([3, 4, 2])
    training.save_weights(tmp_path / "model.safetensors", model)
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    theirs.load_state_dict(load_file(tmp_path / "model.safetensors"))
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_allclose(theirs(torch.from_numpy(x)).detach().numpy(), model(x).data, rtol=1e-5, atol=1e-6)


def test_weights_that_another_program_wrote_load_by_name(tmp_path):
    from safetensors.numpy import save_file

    model, other = nn.MLP([3, 4, 2]), nn.MLP([3, 4, 2])
    save_file({name: value.data for name, value in model.state_dict().items()}, tmp_path / "theirs.safetensors")
    training.load_weights(tmp_path / "theirs.safetensors", other)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert (mine.data == theirs.data).all()
    with pytest.raises(training.TensorFileError, match=r"theirs.safetensors: .*missing: 4.weight"):
        training.load_weights(tmp_path / "theirs.safetensors", nn.MLP([3, 4, 4, 2]))


def test_weights_in_a_dtype_that_numpy_does_not_have_are_refused_by_its_name(tmp_path):
    header = json.dumps({"0.weight": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "half.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(training.TensorFileError, match=r"half.safetensors: holds the dtype 'BF16'"):
        training.load_weights(tmp_path / "half.safetensors", nn.MLP([3, 4, 2]))


def test_damaged_weights_are_refused_and_the_model_stays(tmp_path):
    model = nn.MLP([3, 4, 2])
    path = training.save_weights(tmp_path / "model.safetensors", nn.MLP([3, 4, 2]))
    before = [p.data.copy() for p in model.parameters()]
    good = path.read_bytes()
    for place in range(0, 8 * len(good), 5):
        data = bytearray(good)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        with pytest.raises(training.TensorFileError, match=r"model.safetensors"):
            training.load_weights(path, model)
    assert all((p.data == old).all() for p, old in zip(model.parameters(), before, strict=True))


MISTAKEN = [
    (lambda model: training.save_weights(model, "f"), r"the path comes first: save_weights\('f', model\)"),
    (lambda model: training.load_weights(model, "f"), r"the path comes first: load_weights\('f', model\)"),
    (lambda model: training.save_checkpoint(model, "f"), r"the path comes first: save_checkpoint\('f', run\)"),
    (lambda model: training.load_checkpoint(model, "f"), r"the path comes first: load_checkpoint\('f', run\)"),
    (lambda model: training.save_weights("f", model.state_dict()), "save_weights: needs a model, not a "),
    (lambda model: training.load_weights("f", {}), "load_weights: needs a model, not a dict"),
    (lambda model: training.save_checkpoint("f", model), "save_checkpoint: needs a Run, not a MLP; save_weights"),
    (lambda model: training.load_checkpoint("f", model), "load_checkpoint: needs a Run, not a MLP; save_weights"),
    (lambda model: training.save_weights(3, model), "save_weights: needs a path, not a int"),
]


@pytest.mark.parametrize("number", range(len(MISTAKEN)))
def test_arguments_in_the_order_of_torch_save_are_refused_with_the_right_one(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = MISTAKEN[number]
    with pytest.raises(TypeError, match=message):
        call(nn.MLP([2, 2]))
    assert os.listdir(".") == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist.*model\.safetensors"):
        training.save_weights(tmp_path / "nowhere" / "model.safetensors", nn.MLP([2, 2]))


# --- writing ---------------------------------------------------------------------------------------------------------


def test_the_same_state_always_gives_the_same_bytes(case, tmp_path):
    first = save_checkpoint(tmp_path / "a.safetensors", case.run).read_bytes()
    assert save_checkpoint(tmp_path / "b.safetensors", case.run).read_bytes() == first


def test_arrays_of_any_layout_and_dtype_come_back(tmp_path):
    arrays = {
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "number": np.array(7),
        "empty": np.zeros((0, 3)),
        "flags": np.array([True, False]),
    }
    write_tensors(tmp_path / "x.safetensors", arrays, {"note": "é"})
    found, document = read_tensors(tmp_path / "x.safetensors")
    assert same(found, arrays)
    assert document == {"note": "é"}


def test_parameters_that_are_not_finite_are_never_saved_over_a_good_checkpoint(tmp_path):
    case = Case(tmp_path / "run")
    case.go(1)
    before = case.last().read_bytes()
    next(case.model.parameters()).data[0, 0] = np.nan
    with pytest.raises(FloatingPointError, match=r"0.weight holds values that are not finite"):
        save_checkpoint(case.last(), case.run)
    assert case.last().read_bytes() == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_checkpoint_from_before_and_nothing_else(tmp_path, monkeypatch, call):
    case = Case(tmp_path / "run")
    case.go(1)
    before, names = case.last().read_bytes(), sorted(os.listdir(case.last().parent))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"No space left on device.*step-000000005.safetensors"):
        save_checkpoint(case.last(), case.run)
    assert case.last().read_bytes() == before
    assert sorted(os.listdir(case.last().parent)) == names


def test_the_last_few_checkpoints_are_kept_and_the_best_one(tmp_path):
    case = Case(tmp_path / "run", keep=3)
    case.go(6)
    folder = case.folder / "checkpoints"
    assert [path.name for path in training.checkpoints(folder)] == [f"step-{n:09d}.safetensors" for n in (20, 25, 30)]
    best = training.read_checkpoint(folder / "best.safetensors")["progress"]
    assert best["epoch"] == best["best_epoch"] == case.run.progress.best_epoch
