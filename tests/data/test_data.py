"""Datasets: the bundled digits, the generators, the dataset itself, its split."""

import inspect

import numpy as np
import pytest

from minigrad import data
from minigrad.data import Dataset

GENERATORS = {name: make for name, make in data.DATASETS.items() if name != "digits"}


# --- digits ----------------------------------------------------------------------------------------------------------


def test_digits_have_the_documented_shapes_dtypes_and_range():
    digits = data.load_digits()
    assert digits.features.shape == (1797, 64)
    assert digits.features.dtype == np.float32
    assert digits.labels.shape == (1797,)
    assert digits.labels.dtype == np.int64
    assert (digits.features.min(), digits.features.max()) == (0.0, 1.0)
    assert digits.classes == 10


def test_digits_count_each_class_as_the_uci_documentation_does():
    counts = np.bincount(data.load_digits().labels)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_equal_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    theirs, ours = datasets.load_digits(), data.load_digits()
    assert np.array_equal(ours.features, theirs.data / 16)
    assert np.array_equal(ours.labels, theirs.target)


def test_two_loads_share_no_memory():
    first = data.load_digits()
    first.features[:] = -1
    assert data.load_digits().features.min() == 0


# --- generators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_gives_the_same_values_for_the_same_seed_and_others_for_another(name):
    make = GENERATORS[name]
    first, again, other = make(seed=3), make(seed=3), make(seed=4)
    assert np.array_equal(first.features, again.features)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.features, other.features)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_touches_no_global_state(name):
    np.random.seed(0)  # noqa: NPY002 - the global state is what is watched
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    GENERATORS[name]()
    assert np.random.rand() == expected  # noqa: NPY002


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_gives_float32_rows_as_many_as_asked(name):
    dataset = GENERATORS[name](samples=101)
    assert len(dataset) == 101
    assert dataset.features.dtype == np.float32
    assert dataset.name == name
    if name in data.CURVES:
        assert dataset.features.shape == dataset.labels.shape == (101, 1)
        assert dataset.labels.dtype == np.float32
    else:
        assert dataset.features.shape == (101, 2)
        assert dataset.labels.dtype == np.int64
        counts = np.bincount(dataset.labels)
        assert counts.max() - counts.min() <= 1


def test_moons_without_noise_are_two_half_circles():
    (x, y), labels = data.moons(50, noise=0).features.T, data.moons(50, noise=0).labels
    upper, lower = labels == 0, labels == 1
    np.testing.assert_allclose(x[upper] ** 2 + y[upper] ** 2, 1, rtol=1e-6)
    np.testing.assert_allclose((x[lower] - 1) ** 2 + (y[lower] - 0.5) ** 2, 1, rtol=1e-6)
    assert (y[upper] >= -1e-6).all()
    assert (y[lower] <= 0.5 + 1e-6).all()


def test_circles_without_noise_have_the_two_radii():
    dataset = data.circles(40, noise=0, factor=0.3)
    radii = np.linalg.norm(dataset.features, axis=1)
    np.testing.assert_allclose(radii, np.where(dataset.labels == 0, 1, 0.3), rtol=1e-6)


def test_spirals_without_noise_turn_with_the_radius():
    dataset = data.spirals(90, noise=0, classes=3, turns=0.5)
    radius = np.linalg.norm(dataset.features, axis=1)
    angle = 2 * np.pi * (dataset.labels / 3 + 0.5 * radius)
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    np.testing.assert_allclose(dataset.features, expected, atol=1e-6)


def test_blobs_lie_around_their_centres_with_the_noise_as_their_standard_deviation():
    dataset = data.blobs(9000, noise=0.1, classes=3)
    for label in range(3):
        cloud = dataset.features[dataset.labels == label]
        angle = 2 * np.pi * label / 3
        np.testing.assert_allclose(cloud.mean(axis=0), [np.cos(angle), np.sin(angle)], atol=0.01)
        np.testing.assert_allclose(cloud.std(axis=0), 0.1, atol=0.01)


def test_xor_is_the_sign_of_the_product_and_uses_all_four_corners():
    dataset = data.xor(100, noise=0)
    assert np.array_equal(dataset.labels, (np.prod(dataset.features, axis=1) < 0).astype(int))
    assert len(np.unique(dataset.features, axis=0)) == 4


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("line", lambda x: x / 2),
        ("cubic", lambda x: x**3 - x / 2),
        ("sine", lambda x: np.sin(np.pi * x)),
        ("sinc", lambda x: np.sin(4 * np.pi * x) / (4 * np.pi * x)),
        ("step", lambda x: np.sign(x) / 2),
    ],
)
def test_a_curve_without_noise_is_its_formula(name, formula):
    dataset = data.curve(name, 50, noise=0)
    np.testing.assert_allclose(dataset.labels, formula(dataset.features.astype(np.float64)), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples must be a whole number of 2 or more, not 0"),
        ({"noise": -1}, "noise must be a finite number of 0 or more"),
        ({"noise": float("nan")}, "noise must be a finite number of 0 or more"),
    ],
)
def test_a_generator_refuses_impossible_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=f"moons: {message}"):
        data.moons(**arguments)


def test_a_generator_refuses_a_number_of_samples_that_is_not_whole():
    with pytest.raises(TypeError, match="moons: samples must be a whole number"):
        data.moons(samples=2.5)


def test_circles_refuse_an_inner_circle_that_is_not_inside():
    with pytest.raises(ValueError, match=r"factor must be a number in \(0, 1\), not "):
        data.circles(factor=1.5)


def test_an_unknown_curve_gets_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'sine'"):
        data.curve("sien")


# --- by name ---------------------------------------------------------------------------------------------------------


def test_every_dataset_loads_by_its_name():
    for name in data.DATASETS:
        assert data.load(name).name == name


def test_an_unknown_dataset_gets_the_nearest_name_and_a_far_one_gets_them_all():
    with pytest.raises(ValueError, match="unknown dataset 'digit'; did you mean 'digits'"):
        data.load("digit")
    with pytest.raises(ValueError, match="known are digits, moons, circles"):
        data.load("imagenet")


# --- the dataset -----------------------------------------------------------------------------------------------------


def test_python_numbers_become_float32_features_and_int64_labels():
    dataset = Dataset([[1.0, 2.0], [3.0, 4.0]], [0, 1])
    assert dataset.features.dtype == np.float32
    assert dataset.labels.dtype == np.int64


def test_float64_features_stay_float64():
    assert Dataset(np.zeros((2, 3)), [0, 1]).subset([1]).features.dtype == np.float64


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_row_and_column(bad):
    features = np.zeros((5, 4), np.float32)
    features[3, 2] = bad
    with pytest.raises(ValueError, match=rf"dataset: features hold {bad} at row 3, column 2 \(1 such values in all\)"):
        Dataset(features, np.zeros(5, int))
    assert np.isnan(Dataset(features, np.zeros(5, int), allow_nonfinite=True).features).any() == np.isnan(bad)


def test_a_label_that_is_not_finite_is_refused_too():
    with pytest.raises(ValueError, match="labels hold nan at row 1"):
        Dataset(np.zeros((2, 1)), np.array([0.0, np.nan]))


def test_features_and_labels_must_have_as_many_rows():
    with pytest.raises(ValueError, match="3 rows of features, but 2 labels"):
        Dataset(np.zeros((3, 1)), [0, 1])


def test_what_is_not_numeric_is_refused():
    with pytest.raises(TypeError, match="cannot hold"):
        Dataset(np.array([["a"], ["b"]]), [0, 1])


def test_a_subset_is_a_copy_in_the_given_order():
    dataset = Dataset(np.arange(6.0).reshape(3, 2), [0, 1, 2], "three")
    part = dataset.subset([2, 0])
    assert part.labels.tolist() == [2, 0]
    assert part.name == "three"
    part.features[:] = -1
    assert dataset.features.min() == 0


def test_classes_of_a_regression_are_refused():
    with pytest.raises(ValueError, match=r"sine: labels of float32 .* are not class numbers"):
        _ = data.curve("sine").classes


# --- stratified split ------------------------------------------------------------------------------------------------


def _labeled(*counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return Dataset(np.arange(len(labels), dtype=np.float32)[:, None], labels, "rows")


def test_a_split_divides_the_rows_without_loss_or_repetition():
    dataset = _labeled(30, 50, 20)
    train, held_out = data.stratified_split(dataset, 0.3, seed=1)
    rows = np.concatenate([train.features, held_out.features])[:, 0]
    assert sorted(rows.tolist()) == list(range(100))
    for part in (train, held_out):
        assert np.array_equal(part.labels, dataset.labels[part.features[:, 0].astype(int)])


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.5, 0.77])
def test_a_split_keeps_the_proportions_of_the_classes(fraction):
    dataset = data.load_digits()
    _, held_out = data.stratified_split(dataset, fraction, seed=0)
    assert len(held_out) == round(len(dataset) * fraction)
    exact = np.bincount(dataset.labels) * fraction
    assert (np.abs(np.bincount(held_out.labels) - exact) < 1).all()


def test_a_split_is_decided_by_its_seed():
    dataset = data.load_digits()
    first, again, other = (data.stratified_split(dataset, 0.2, seed)[1].features for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_a_split_refuses_a_fraction_that_leaves_nothing(fraction):
    with pytest.raises(ValueError, match="fraction must be a number in"):
        data.stratified_split(_labeled(5, 5), fraction)


def test_a_split_refuses_a_class_too_small_for_both_parts():
    with pytest.raises(ValueError, match=r"class 1 of rows has 1 rows, of which 0 would be held out at fraction 0.2"):
        data.stratified_split(_labeled(50, 1), 0.2)


def test_a_split_refuses_labels_that_are_no_classes_and_an_empty_dataset():
    with pytest.raises(ValueError, match="needs class numbers"):
        data.stratified_split(data.curve("sine"))
    with pytest.raises(ValueError, match="rows is empty"):
        data.stratified_split(_labeled())


def test_every_generator_and_the_split_name_their_seed():
    for function in (*GENERATORS.values(), data.stratified_split):
        assert "seed" in inspect.signature(function).parameters
