"""NumPy's loops by address: each loop for floats has the bits of its ufunc; a NumPy with other structs is noticed."""

import ctypes

import numpy as np
import pytest

from minigrad.compiled import numpy_loops
from minigrad.compiled.numpy_loops import call, loop, problem

UFUNCS = sorted({f.__name__ for f in vars(np).values() if isinstance(f, np.ufunc) and f.signature is None})


def special(letter):
    """Zeros, denormals, limits, infinities, NaN, integers, and large and small numbers, of both signs."""
    limits = np.finfo(letter)
    found = [0, limits.smallest_subnormal, 3e-39, limits.tiny, limits.eps, 1e-3, 0.3, 0.5, 1, 1 + limits.eps, 1.5, 2, 3]
    found += [5, 17, 88.5, 700, 1e4, 2.0**24 + 2, 1e19, limits.max, np.inf, np.nan]
    return np.array([*found, *(-value for value in found)], letter)


def strided(letter, length):
    """An uninitialized vector with gaps between its elements."""
    return np.empty((length, 3), letter)[:, 1]


def spread(values):
    """The same values, with gaps between them."""
    out = strided(values.dtype, len(values))
    out[:] = values
    return out


def inputs(letters):
    values = special(letters[0])
    if len(letters) == 1:
        return [values]
    other = values if letters[1] in "fd" else np.array([0, 1, -1, 2, 7, -30, 1000], letters[1])
    return [np.repeat(values, len(other)), np.tile(other, len(values))]


@pytest.mark.parametrize("name", UFUNCS)
@np.errstate(all="ignore")
def test_a_loop_has_the_bits_of_its_ufunc(name):
    ufunc = getattr(np, name)
    for text in ufunc.types:
        taken, returned = text.split("->")
        if taken[0] not in "fd" or not set(text) <= set("fd?ilq->"):
            continue
        arrays = inputs(taken)
        for layout in (np.ascontiguousarray, spread):
            given = [layout(array) for array in arrays]
            expected, found = ([layout(np.empty(len(given[0]), letter)) for letter in returned] for _ in range(2))
            ufunc(*given, out=tuple(expected), signature=text)
            call(name, taken + returned, [*given, *found])
            for mine, theirs in zip(found, expected, strict=True):
                assert mine.tobytes() == theirs.tobytes(), text


def test_the_ufuncs_of_a_training_step_are_among_them():
    assert {"add", "divide", "exp", "log1p", "logaddexp", "maximum", "power", "sqrt", "tanh", "isnan"} <= set(UFUNCS)


@pytest.mark.parametrize("letter", ["f", "d"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (32, 10, 64), (17, 5, 1)])
def test_the_loop_of_matmul_has_the_bits_of_matmul_for_every_order_of_its_operands(letter, shape):
    n, m, k = shape
    rng = np.random.default_rng(0)
    for a in (rng.normal(size=(n, k)).astype(letter), rng.normal(size=(k, n)).astype(letter).T):
        for b in (rng.normal(size=(k, m)).astype(letter), rng.normal(size=(m, k)).astype(letter).T):
            out = np.empty((n, m), letter)
            call("matmul", letter * 3, [a, b, out])
            assert out.tobytes() == np.matmul(a, b).tobytes()


def test_a_loop_is_found_by_its_dtypes_and_is_an_address_with_its_data():
    assert problem() == ""
    addresses = {loop("exp", "ff"), loop("exp", "dd"), loop("add", "fff"), loop("matmul", "ddd")}
    assert len(addresses) == 4
    assert all(function > 4096 and data >= 0 for function, data in addresses)


@pytest.mark.parametrize(("name", "letters"), [("exp", "fd"), ("exp", "f"), ("exp", ""), ("add", "ff"), ("tanh", "ii")])
def test_a_loop_that_a_ufunc_does_not_have_is_an_error(name, letters):
    with pytest.raises(LookupError, match=rf"np\.{name} has no loop for the dtypes '{letters}'"):
        loop(name, letters)


@pytest.mark.parametrize("name", ["erf", "sum", "float32"])
def test_what_is_not_a_ufunc_is_an_error(name):
    with pytest.raises(LookupError, match=f"no ufunc '{name}'"):
        loop(name, "ff")


# A NumPy whose structs have other fields is imitated by reading them with other fields.


@pytest.fixture
def laid_out(monkeypatch):
    """Reads the struct of ufuncs with other fields, and finds loops as in a new process."""

    def read(fields):
        monkeypatch.setattr(numpy_loops, "_UFunc", type("_UFunc", (ctypes.Structure,), {"_fields_": fields}))
        problem.cache_clear()
        loop.cache_clear()

    yield read
    problem.cache_clear()
    loop.cache_clear()


FIELDS = list(numpy_loops._UFunc._fields_)


def is_noticed_or_harmless():
    """With fields between which only padding moved, the loops are still found."""
    if problem():
        with pytest.raises(LookupError, match="NumPy"):
            loop("exp", "ff")
        return True
    values = special("f")
    out = np.empty_like(values)
    with np.errstate(all="ignore"):
        call("exp", "ff", [values, out])
        return out.tobytes() == np.exp(values).tobytes()


@pytest.mark.parametrize("moved", FIELDS[1:])
def test_a_struct_with_fields_in_another_order_is_noticed(moved, laid_out):
    others = [field for field in FIELDS if field != moved]
    for place in range(1, len(FIELDS)):
        laid_out([*others[:place], moved, *others[place:]])
        assert is_noticed_or_harmless()


@pytest.mark.parametrize("place", range(len(FIELDS)))
def test_a_struct_with_more_fields_is_noticed(place, laid_out):
    for added in (4, 8, 16, 24, 64):
        laid_out([*FIELDS[:place], ("more", ctypes.c_char * added), *FIELDS[place:]])
        assert problem() or added == 4
        assert is_noticed_or_harmless()


def test_a_loop_with_other_bits_is_noticed(laid_out, monkeypatch):
    laid_out(FIELDS)
    find = numpy_loops._find
    monkeypatch.setattr(numpy_loops, "_find", lambda name, letters: find("cosh" if name == "tanh" else name, letters))
    assert problem() == "the loop of np.tanh for float32 differs from np.tanh in this NumPy"
    with pytest.raises(LookupError, match=r"np\.tanh"):
        loop("exp", "ff")
