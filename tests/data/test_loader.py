"""DataLoader: batches, seeded orders, resuming."""

import copy
import json
import pickle

import numpy as np
import pytest

from minigrad import Tensor, check_gradients, nn, optim, study, training
from minigrad.data import DataLoader, Dataset, load_digits, moons, spirals, stratified_split
from minigrad.random import get_state, manual_seed


def numbered(rows):
    """A dataset whose features and labels are the row numbers."""
    return Dataset(np.arange(rows, dtype=np.float32)[:, None], np.arange(rows), "numbered")


def batches(loader):
    """The row numbers of each batch of one loop."""
    return [labels.tolist() for _, labels in loader]


def test_batches_are_tensors_of_the_datasets_dtypes():
    features, labels = next(iter(DataLoader(numbered(5), 2)))
    assert isinstance(features, Tensor)
    assert isinstance(labels, Tensor)
    assert (features.dtype, labels.dtype) == (np.float32, np.int64)
    assert (features.shape, labels.shape) == ((2, 1), (2,))
    assert not features.requires_grad


def test_without_shuffling_the_rows_come_in_order_with_a_smaller_last_batch():
    assert batches(DataLoader(numbered(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_drop_last_leaves_out_the_smaller_batch_but_never_a_full_one():
    assert batches(DataLoader(numbered(7), 3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert batches(DataLoader(numbered(6), 3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("rows", [5, 6, 7])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_length_is_the_number_of_batches(rows, drop_last):
    loader = DataLoader(numbered(rows), 3, drop_last=drop_last)
    assert len(loader) == len(batches(loader))


def test_shuffling_gives_every_row_once_and_keeps_features_with_their_labels():
    seen = []
    for features, labels in DataLoader(numbered(50), 8, shuffle=True, seed=0):
        assert features.data[:, 0].tolist() == labels.tolist()
        seen += labels.tolist()
    assert seen != list(range(50))
    assert sorted(seen) == list(range(50))


def test_epochs_differ_and_the_seed_decides_them_all():
    first, again, other = (DataLoader(numbered(20), 4, shuffle=True, seed=seed) for seed in (1, 1, 2))
    epochs = [batches(first) for _ in range(3)]
    assert epochs == [batches(again) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert epochs != [batches(other) for _ in range(3)]


def test_without_a_seed_the_order_follows_manual_seed():
    orders = []
    for seed in (5, 5, 6):
        manual_seed(seed)
        orders.append(batches(DataLoader(numbered(20), 4, shuffle=True)))
    assert orders[0] == orders[1] != orders[2]


def test_batches_are_copies_of_the_dataset():
    dataset = numbered(4)
    for features, _ in DataLoader(dataset, 2):
        features.data[:] = -1
    assert dataset.features.min() == 0


@pytest.mark.parametrize("taken", range(12))
def test_a_loop_saved_after_any_batch_resumes_with_the_same_batches(taken):
    def stream(loader, epochs):
        for _ in range(epochs):
            for _, labels in loader:
                yield labels.tolist(), json.dumps(loader.state_dict())

    expected = list(stream(DataLoader(numbered(11), 3, shuffle=True, seed=7), 3))
    assert len(expected) == 12
    state = json.loads(expected[taken][1])
    resumed = DataLoader(numbered(11), 3, shuffle=True, seed=99)
    resumed.load_state_dict(state)
    assert resumed.epoch == taken // 4
    assert list(stream(resumed, 3 - taken // 4)) == expected[taken + 1 :]


def test_a_state_saved_between_epochs_resumes_with_the_next_epoch():
    loader, resumed = (DataLoader(numbered(10), 4, shuffle=True, seed=seed) for seed in (3, 4))
    batches(loader)
    resumed.load_state_dict(loader.state_dict())
    assert resumed.epoch == loader.epoch == 1
    assert batches(resumed) == batches(loader)


def test_a_new_loop_after_one_that_was_left_early_is_a_whole_new_epoch():
    loader, reference = (DataLoader(numbered(10), 4, shuffle=True, seed=3) for _ in range(2))
    next(iter(loader))
    epochs = [batches(reference), batches(reference)]
    assert batches(loader) == epochs[1]


def test_a_loop_within_a_loop_disturbs_neither():
    loader = DataLoader(numbered(6), 2, shuffle=True, seed=0)
    outer = []
    for _, labels in loader:
        outer += labels.tolist()
        assert sorted(row for batch in batches(loader) for row in batch) == list(range(6))
    assert sorted(outer) == list(range(6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 9}, "saved with rows=9, this loader has 10"),
        ({"batch_size": 5}, "saved with batch_size=5, this loader has 4"),
        ({"shuffle": False}, "saved with shuffle=False, this loader has True"),
        ({"drop_last": True}, "saved with drop_last=True, this loader has False"),
        ({"batch": 4}, "4 is not a possible batch of a loader with 3 batches"),
        ({"epoch": -1}, "-1 is not a possible epoch"),
        ({"seed": "x"}, "'x' is not a possible seed"),
        ({"step": 1}, r"unknown: \['step'\]"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    loader = DataLoader(numbered(10), 4, shuffle=True, seed=3)
    before = loader.state_dict()
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict({**before, "seed": 8, **change})
    assert loader.state_dict() == before


def test_a_state_with_a_missing_key_is_refused():
    loader = DataLoader(numbered(10), 4)
    state = loader.state_dict()
    del state["epoch"]
    with pytest.raises(ValueError, match=r"missing: \['epoch'\]"):
        loader.load_state_dict(state)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, "32"])
def test_a_batch_size_that_is_no_positive_whole_number_is_refused(batch_size):
    with pytest.raises((TypeError, ValueError), match="batch_size must be a whole number of 1 or more"):
        DataLoader(numbered(3), batch_size)


def test_an_empty_dataset_is_refused_by_name():
    with pytest.raises(ValueError, match="numbered is empty"):
        DataLoader(numbered(0))


def test_dropping_every_batch_is_refused():
    with pytest.raises(ValueError, match="3 rows do not fill one batch of 4"):
        DataLoader(numbered(3), 4, drop_last=True)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be a whole number of 0 or more, not -1"):
        DataLoader(numbered(3), seed=-1)


def test_bare_arrays_and_misspelled_arguments_are_refused():
    with pytest.raises(TypeError, match=r"wrap arrays as Dataset\(features, labels\)"):
        DataLoader((np.zeros((3, 1)), np.zeros(3, int)))
    with pytest.raises(TypeError, match="batchsize"):
        DataLoader(numbered(3), batchsize=2)


# --- datasets of one's own -----------------------------------------------------------------------------------------


class Squares(Dataset):
    """As in PyTorch: its own attributes, one row at a time."""

    def __init__(self, rows):
        self.labels = np.arange(rows) ** 2  # a name that Dataset uses too
        self.calls = []

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        self.calls.append(row)
        return [float(row), 1.0], self.labels[row]


class Noisy(Dataset):
    """Stored rows, changed on their way."""

    def __getitem__(self, row):
        features, label = super().__getitem__(row)
        return features + 0.5, label


class Plain:
    """Nothing of minigrad's."""

    def __len__(self):
        return 5

    def __getitem__(self, row):
        return Tensor([float(row), float(row)]), row


def test_a_dataset_may_give_its_rows_one_by_one():
    dataset = Squares(7)
    loader = DataLoader(dataset, 3, shuffle=True, seed=2)
    order = [label for batch in batches(DataLoader(numbered(7), 3, shuffle=True, seed=2)) for label in batch]
    assert [label for batch in batches(loader) for label in batch] == [row**2 for row in order]
    assert dataset.calls == order
    assert all(type(row) is int for row in dataset.calls)
    features, labels = next(iter(DataLoader(dataset, 3)))
    assert (features.dtype, labels.dtype) == (np.float32, np.int64)
    assert features.tolist() == [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    assert "Squares" in repr(loader)


def test_a_subclass_may_change_the_rows_that_it_holds():
    dataset = Noisy(np.zeros((4, 2), np.float32), [0, 1, 0, 1])
    assert [f.tolist() for f, _ in DataLoader(dataset, 4)] == [[[0.5, 0.5]] * 4]


@pytest.mark.parametrize("dataset", [Plain(), [([float(i)], i) for i in range(5)]])
def test_anything_with_rows_is_a_dataset(dataset):
    assert batches(DataLoader(dataset, 2, drop_last=True)) == [[0, 1], [2, 3]]
    model = nn.Linear(2 if isinstance(dataset, Plain) else 1, 5)
    assert set(training.evaluate(model, dataset, lambda x, y: x.sum())) == {"loss"}


def test_a_run_trains_on_rows_one_by_one():
    dataset = Squares(6)
    dataset.labels = np.array([0, 1, 0, 1, 0, 1])
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)
    recorder = study.Recorder(model, optimizer, every=1)
    run = training.fit(
        model, optimizer, DataLoader(dataset, 3), 2, evaluate=dataset, metrics={"accuracy": training.correct},
        callbacks=[recorder],
    )  # fmt: skip
    assert len(run.progress.history) == 2
    assert recorder.recording.activations
    assert {len(part) for part in stratified_split(dataset, 1 / 3)} == {2, 4}


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ([1, 2], TypeError, r"list: row 0 must be a pair \(features, label\), not int"),
        ([(1, 2, 3)], TypeError, "list: row 0 must be a pair"),
        ([([1.0], 0), ([1.0, 2.0], 0)], ValueError, r"features of row 1 is float32 \(2,\), but float32 \(1,\) in"),
        ([], ValueError, "list is empty"),
    ],
)
def test_rows_that_make_no_batch_are_refused(dataset, error, message):
    with pytest.raises(error, match=message):
        next(iter(DataLoader(dataset, 2)))


@pytest.mark.parametrize("dataset", [np.zeros((3, 1)), Tensor([1.0]), iter([]), 3, {1: 2}.keys()])
def test_what_has_no_rows_is_refused(dataset):
    with pytest.raises(TypeError, match=r"needs a Dataset, not .*, or define __len__ and __getitem__"):
        DataLoader(dataset)


def test_a_subclass_without_rows_says_what_is_missing():
    class Empty(Dataset):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"Empty has no attribute 'features'; call super.*or define __len__ and"):
        DataLoader(Empty())


def test_a_dataset_itself_does_not_change():
    dataset = numbered(3)
    for name in ("features", "labels", "name", "allow_nonfinite"):
        with pytest.raises(AttributeError, match=f"Dataset.{name} cannot be changed; make a new Dataset"):
            setattr(dataset, name, [1, 2, 3])
    assert dataset.name == "numbered"


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 3), ("shuffle", False), ("drop_last", True), ("dataset", numbered(3)), ("device", "cuda")],
)
def test_a_loader_is_what_it_was_made(name, value):
    loader = DataLoader(numbered(8), 2, shuffle=True, seed=0)
    for _ in loader:
        with pytest.raises(AttributeError, match=rf"DataLoader\.{name} is .* and cannot be changed"):
            setattr(loader, name, value)
    with pytest.raises(AttributeError, match=r"DataLoader\.seed is an argument of the constructor"):
        loader.seed = 3


# --- random numbers ------------------------------------------------------------------------------------------------


def test_nothing_that_only_looks_draws_from_the_generator():
    def looks():
        yield "a loader in order", lambda: batches(DataLoader(numbered(9), 2))
        yield "a seeded loader", lambda: batches(DataLoader(numbered(9), 2, shuffle=True, seed=1))
        yield "a loaded state", lambda: loader.load_state_dict(loader.state_dict())
        yield "split", lambda: stratified_split(moons(20), 0.5, seed=3)
        yield "generators", lambda: [moons(20), spirals(30, seed=4), load_digits()]
        yield "evaluate", lambda: training.evaluate(model, moons(20), nn.functional.cross_entropy)
        yield "summary", lambda: model.summary(features)
        yield "eval", lambda: model.eval()(features)
        yield "copy", lambda: copy.deepcopy((model, optimizer))
        yield "pickle", lambda: pickle.loads(pickle.dumps((model, optimizer)))
        yield "draw_graph", lambda: study.draw_graph(model.eval()(features))
        yield "check_gradients", lambda: check_gradients(lambda x: x * x, np.ones(3))
        yield "check of a model", lambda: check_gradients(model.eval(), features)
        yield "explain", lambda: optimizer.explain("0.weight", (0, 0), coming=True)
        yield "plan", lambda: str(optimizer.plan())
        yield "state", lambda: optimizer.load_state_dict(optimizer.state_dict())
        yield "step", optimizer.step
        yield "recorder", lambda: record(model, optimizer, features)

    def record(model, optimizer, features):
        with study.Recorder(model, optimizer, every=1, probe=features):
            optimizer.step()

    manual_seed(1)
    loader = DataLoader(numbered(9), 2, shuffle=True)
    model = nn.MLP([2, 4, 2], dropout=0.5, norm="batch")
    optimizer = optim.Adam(model.parameters())
    features, labels = (Tensor(array) for array in moons(20)[:])
    nn.functional.cross_entropy(model(features), labels).backward()
    before = get_state()
    for name, look in looks():
        model.train()
        look()
        assert get_state() == before, name
