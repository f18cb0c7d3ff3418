"""The axes of a 0-d tensor, 0 and -1, in every op that takes an axis; integers, which do not wrap around silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import ops
from minigrad.ops import PRIMITIVES

# What PyTorch 2.13 gives for torch.tensor(3.0) and dim=0.
SCALAR: dict[str, float] = {
    "sum": 3.0, "mean": 3.0, "prod": 3.0, "max": 3.0, "min": 3.0, "any": True, "all": True, "argmax": 0, "argmin": 0,
    "logsumexp": 3.0, "cumsum": 3.0, "softmax": 1.0, "log_softmax": 0.0, "norm": 3.0, "flip": 3.0, "squeeze": 3.0,
}  # fmt: skip
CORRECTED = {"var": 0.0, "std": 0.0}  # with correction=0
OTHERS = {"take", "put", "gather", "scatter", "concatenate", "stack", "unsqueeze", "standardize"}
SEVERAL = {"sum", "mean", "prod", "max", "min", "any", "all", "logsumexp", "norm", "var", "std", "flip", "squeeze"}


def apply(name: str, x: Any, axis: Any, **options: Any) -> Any:
    correction = {"correction": 0} if name in CORRECTED else {}
    return getattr(ops, name)(x, axis=axis, **correction, **options)


def test_every_op_with_an_axis_is_tried_here() -> None:
    with_axis = {name for name, entry in PRIMITIVES.items() if "axis" in entry.settings}
    assert with_axis == {*SCALAR, *CORRECTED, *OTHERS}


@pytest.mark.parametrize("axis", [0, -1, (0,), (-1,), np.int64(0)])
@pytest.mark.parametrize("name", [*SCALAR, *CORRECTED])
def test_a_scalar_has_the_axes_0_and_minus_1(name: str, axis: Any) -> None:
    if isinstance(axis, tuple) and name not in SEVERAL:
        return
    x = mg.tensor(3.0, requires_grad=True)
    expected = {**SCALAR, **CORRECTED}[name]
    for options in [{}, {"keepdims": True}] if "keepdims" in PRIMITIVES[name].settings else [{}]:
        out = apply(name, x, axis, **options)
        assert out.shape == ()
        np.testing.assert_allclose(out.item(), expected, rtol=1e-6)
        np.testing.assert_allclose(apply(name, x.data, axis, **options), expected, rtol=1e-6)
        if out.requires_grad:
            (g,) = mg.grad(out, x, create_graph=True)
            assert g.shape == ()
            assert g.item() == (0 if name in {"softmax", "log_softmax", *CORRECTED} else 1)
            mg.check_gradients(lambda x, o=options: apply(name, x, axis, **o), np.array(3.0))


@pytest.mark.parametrize("axis", [1, -2, (0, 0), (0, -1), (1,)])
@pytest.mark.parametrize("name", [*SCALAR, *CORRECTED])
def test_a_wrong_axis_of_a_scalar_is_refused_by_name(name: str, axis: Any) -> None:
    with pytest.raises((IndexError, ValueError, TypeError), match=rf"^{name}: "):
        apply(name, mg.tensor(3.0), axis)


def test_other_ops_take_the_axis_of_a_scalar_too() -> None:
    x = mg.tensor(3.0, requires_grad=True)
    assert x.transpose(0, -1).item() == 3
    assert x.gather(0, mg.tensor(0)).item() == 3
    assert x.take([0, 0], axis=0).tolist() == [3, 3]
    assert mg.grad(x.take([0, 0], axis=-1).sum(), x)[0].item() == 2
    assert mg.grad(x.gather(-1, mg.tensor(0)), x)[0].item() == 1
    assert ops.standardize(x, axis=0).item() == 0
    for wrong in (lambda: x.transpose(0, 1), lambda: x.gather(1, mg.tensor(0)), lambda: x.gather(0, mg.tensor(1))):
        with pytest.raises(IndexError, match=r"out of (bounds|range)"):
            wrong()


@pytest.mark.parametrize("axis", [(0, 0), (0, -2), 2, -3, (0, 2)])
@pytest.mark.parametrize("name", sorted(SEVERAL - {"squeeze"}))
def test_repeated_axes_and_those_out_of_range_are_refused_by_name(name: str, axis: Any) -> None:
    with pytest.raises((IndexError, ValueError), match=rf"^{name}: "):
        apply(name, mg.ones(2, 3), axis)


# --- integers ---------------------------------------------------------------------------------------------------------

INTEGERS = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_sums_and_products_of_integers_are_int64(dtype: str) -> None:
    x = mg.tensor(np.ones((300, 2), dtype))
    for out in (x.sum(), x.sum(axis=0), x.prod(axis=0), x.cumsum(0), x[0, 0].sum(), x[0, 0].cumsum(0)):
        assert out.dtype == np.int64
    assert (x.sum() - 601).item() == -1
    assert x.mean().dtype == np.float32
    assert x.mean().item() == 1


def test_bools_are_rounded_to_bools() -> None:
    assert mg.round(mg.tensor([True, False])).dtype == np.bool_


DIVISIONS: list[Callable[[Any, Any], Any]] = [lambda a, b: a // b, lambda a, b: a % b]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("divide", DIVISIONS)
@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8"])
def test_an_integer_is_not_divided_by_0(divide: Callable[[Any, Any], Any], dtype: str) -> None:
    a, b = mg.tensor(np.array([5, 6], dtype)), mg.tensor(np.array([2, 0], dtype))
    for wrong in (lambda: divide(a, b), lambda: divide(a, 0), lambda: divide(7, b), lambda: divide(a, False)):
        with pytest.raises(ZeroDivisionError, match=r"^(floor_divide|remainder): .*where\(\)"):
            wrong()
    before = a.tolist()
    with pytest.raises(ZeroDivisionError):
        a //= b
    assert a.tolist() == before
    assert divide(mg.tensor(np.zeros(0, dtype)), mg.tensor(np.zeros(0, dtype))).shape == (0,)


def test_whole_and_remaining_parts_have_the_signs_of_python() -> None:
    for a in (-7, 7):
        for b in (-3, 3):
            assert (mg.tensor(a) // b).item() == a // b
            assert (mg.tensor(a) % b).item() == a % b
    with np.errstate(all="ignore"):
        assert (mg.tensor([5.0, -5.0]) // 0.0).tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize(
    "make",
    [
        lambda: mg.arange(129, dtype=np.int8),
        lambda: mg.arange(-1, 3, dtype=np.uint8),
        lambda: mg.arange(0.0, 1e20, 1e19, dtype=np.int64),
        lambda: mg.linspace(0, 300, 4, dtype=np.uint8),
        lambda: mg.randint(250, 300, (100,), dtype=np.uint8),
    ],
)
def test_numbers_that_a_dtype_cannot_hold_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"do not fit u?int\d+; choose a wider dtype"):
        make()
    assert mg.arange(128, dtype=np.int8).sum().item() == 127 * 64
    assert mg.arange(0, dtype=np.int8).shape == (0,)
