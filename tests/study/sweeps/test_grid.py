"""What varies in a sweep: values, ranges and draws as text or Python values."""

import numpy as np
import pytest

from minigrad.study.sweeps.grid import Range, make_cells, read_axis


@pytest.mark.parametrize(
    ("name", "given", "values"),
    [
        ("lr", "1e-4..1:9", [0.0001, 0.0003162, 0.001, 0.003162, 0.01, 0.03162, 0.1, 0.3162, 1.0]),
        ("lr", "0.1..0.9:5:linear", [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("lr", "0.1..0.9:5 linear", [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("momentum", "-0.5..0.5:3:linear", [-0.5, 0.0, 0.5]),
        ("lr", "0.1, 0.3,1", [0.1, 0.3, 1.0]),
        ("lr", (0.1, 0.2), [0.1, 0.2]),
        ("lr", np.array([0.5, 0.25]), [0.5, 0.25]),
        ("lr", [0.1, 0.1], [0.1]),
        ("batch-size", "16..256:5", [16, 32, 64, 128, 256]),
        ("batch_size", 64, [64]),
        ("model", "mlp:32,relu", ["mlp:32,relu"]),
        ("model", ["mlp:64", "64-32-10"], ["mlp:64", "64-32-10"]),
        ("betas", "0.9,0.99", [(0.9, 0.99)]),
        ("betas", [(0.9, 0.99), (0.8, 0.9)], [(0.9, 0.99), (0.8, 0.9)]),
        ("amsgrad", [False, True], [False, True]),
        ("amsgrad", "true,false", [True, False]),
        ("clip", ["none", "by_value:1e+5 + by_global_norm:1.0"], [None, "by_value:1e+5 + by_global_norm:1.0"]),
        ("schedule", [None, "StepLR:step_size=10"], [None, "StepLR:step_size=10"]),
        ("data", "a/../b", ["a/../b"]),  # not a range
    ],
)
def test_values_are_read(name, given, values):
    found = read_axis(name, given)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_a_denser_range_has_the_values_of_the_first():
    coarse, fine = (read_axis("lr", f"1e-4..1:{count}") for count in (9, 17))
    assert fine[::2] == coarse


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("lr", "1..0.1:3", "must begin below its end"),
        ("lr", "0..1:3", "must begin above 0"),
        ("lr", "1e-4..1:1", "2 to 10,000 values"),
        ("lr", "1e-4..1:9:lin", "unknown scale of lr 'lin'; did you mean 'linear'"),
        ("lr", "1e-3...1:3", "lr must be a finite number"),
        ("lr", "0.1,x", "lr must be a finite number of 0 or more, not '0.1,x'"),
        ("lr", ["1e-4..1", 0.1], "cannot be one value of a list"),
        ("lr", [], "lr: needs a value"),
        ("lrr", 1, "did you mean 'lr'"),
        ("model", "mlp:8,GELUU", "unknown part of a model 'geluu'"),
        ("seed", "0,1", "seed cannot be swept"),
        ("amsgrad", "maybe", "amsgrad must be true or false"),
        ("batch_size", "0.2..4:3", "batch_size must be a whole number of 1 or more, not '0'"),
        ("clip", "by_value:1 + nothing", "unknown clip 'nothing'"),
        ("lr", {"a": 1}, "lr must be a number"),
    ],
)
def test_wrong_values_are_refused(name, given, text):
    with pytest.raises(ValueError, match=text):
        read_axis(name, given)


def test_cells_are_the_combinations_of_each_optimizer():
    cells = make_cells(["SGD", "adam:lr=0.001,0.01,betas=(0.9,0.99)"], {"lr": [0.1, 0.2], "momentum": [0.0, 0.9]})
    assert cells == [
        *({"optimizer": "SGD", "lr": lr, "momentum": m} for lr in (0.1, 0.2) for m in (0.0, 0.9)),
        *({"optimizer": "Adam", "lr": lr, "betas": (0.9, 0.99)} for lr in (0.001, 0.01)),
    ]


@pytest.mark.parametrize(
    ("optimizers", "axes", "text"),
    [
        (["Adm"], {}, "did you mean 'Adam'"),
        (["Adam:beta=1"], {}, "Adam: unknown option 'beta'; did you mean 'betas'"),
        (["Adam:0.1"], {}, "Adam: write its values by name, as in Adam:lr=0.01"),
        (["Adam:lr=x"], {}, "Adam: lr must be a finite number"),
        (["Adam", "Lion"], {"momentum": [0.9]}, "none of the optimizers has the option momentum"),
        (["Adam"], {"lr": Range(1e-4, 1.0)}, "lr: how many values"),
    ],
)
def test_wrong_cells_are_refused(optimizers, axes, text):
    with pytest.raises(ValueError, match=text):
        make_cells(optimizers, axes)


def test_random_draws_are_within_the_range_and_do_not_depend_on_their_number():
    axes = {"lr": Range(1e-4, 1.0), "batch_size": [16, 32]}
    few, many = (make_cells(["SGD", "Adam"], axes, random=count) for count in (10, 400))
    sgd = [cell for cell in many if cell["optimizer"] == "SGD"]
    assert sgd[:10] == few[:10]
    rates = np.log10([cell["lr"] for cell in sgd])
    assert -4 <= rates.min() < -3.9
    assert -0.1 < rates.max() <= 0
    assert np.histogram(rates, bins=4, range=(-4, 0))[0].min() > 70  # uniform on the logarithmic scale
    assert {cell["batch_size"] for cell in sgd} == {16, 32}
    assert make_cells(["SGD"], {"batch_size": read_axis("batch_size", "16..64:3")}, random=50)[0]["batch_size"] in (
        16,
        32,
        64,
    )
