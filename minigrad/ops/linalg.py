"""Products of vectors and matrices. Matrices are the last two axes; the axes before them broadcast."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..checks import named_arguments
from ..devices.arrays import namespace
from ..devices.summation import ROWS, add_up
from .indexing import getitem
from .primitive import Primitive, primitive
from .shape import expand, permute, reshape, transpose

__all__ = ["dot", "einsum", "matmul", "outer"]

MATMUL_HINT = "the last axis of the first must equal the last but one of the second (its only one if a vector)"


# Above this number of products, BLAS's sum for a single row or column is as inaccurate as adding sequentially.
_LONG = 1024


def _matmul(a: Any, b: Any) -> Any:
    try:
        if a.size > _LONG and a.shape[-1] > _LONG and 1 in (a.ndim, b.ndim, *a.shape[-2:-1], *b.shape[-1:]):
            return _long_matmul(a, b)
        return np.matmul(a, b)
    except ValueError:
        # NumPy's message is about core dimensions of a gufunc, which does not help our users.
        raise ValueError("the sizes do not fit") from None


def _long_matmul(a: Any, b: Any) -> Any:
    """The product in blocks of `ROWS` along the inner axis, whose products are added in pairs."""
    n = a.shape[-1]
    if b.shape[-2:][:1] != (n,):
        return np.matmul(a, b)  # which reports the mismatch
    if a.ndim == 1:
        return _long_matmul(a[None, :], b)[..., 0, :] if b.ndim > 1 else _long_matmul(a[None, :], b)[0]
    if b.ndim == 1:
        return _long_matmul(a, b[:, None])[..., 0]
    whole = n - n % ROWS
    left = np.swapaxes(a[..., :whole].reshape(*a.shape[:-1], -1, ROWS), -2, -3)
    right = b[..., :whole, :].reshape(*b.shape[:-2], -1, ROWS, b.shape[-1])
    out = add_up(np.matmul(left, right), axis=-3)
    return out + np.matmul(a[..., whole:], b[..., whole:, :]) if whole < n else out


# A vector is multiplied as a matrix of one row (the first operand) or one column (the second); so is its gradient.
def _matmul_a(g: Any, a_shape: tuple[int, ...], b: Any) -> Any:
    if len(b.shape) == 1:
        g, b = g[..., None], b[:, None]
    if len(a_shape) > 1:
        return matmul(g, transpose(b))
    return matmul(g[..., None, :], transpose(b))[..., 0, :]


def _matmul_b(g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    if len(a.shape) == 1:
        a, g = a[None, :], (g[..., None, :] if len(b_shape) > 1 else g[..., None])
    if len(b_shape) > 1:
        return matmul(transpose(a), g)
    return matmul(transpose(a), g[..., None])[..., 0]


matmul: Primitive = primitive(
    "matmul",
    _matmul,
    "a b",
    (_matmul_a, _matmul_b),
    hint=MATMUL_HINT,
    doc="The matrix product ``a @ b`` with all of NumPy's ranks: vectors, matrices, and stacks of matrices.",
)


def _dot(a: Any, b: Any) -> Any:
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError("needs two vectors; use matmul() for matrices")
    return _matmul(a, b)


def _outer(a: Any, b: Any) -> Any:
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError("needs two vectors")
    return np.multiply(a[:, None], b)


dot = primitive("dot", _dot, "a b", (lambda g, b: g * b, lambda g, a: g * a), doc="The inner product of two vectors.")
outer = primitive(
    "outer",
    _outer,
    "a b",
    (lambda g, b: matmul(g, b), lambda g, a: matmul(a, g)),
    doc="out[i, j] = a[i] * b[j] for two vectors.",
)

# --- einsum ----------------------------------------------------------------------------------------------------------


_LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@functools.lru_cache
def _sizes(inputs: str, shapes: tuple[tuple[int, ...], ...]) -> dict[str, int]:
    """The size of each label; size 1 broadcasts. Empty if sizes differ, which NumPy's einsum reports."""
    sizes: dict[str, int] = {}
    for word, shape in zip(inputs.split(","), shapes, strict=True):
        for label, n in zip(word, shape, strict=True):
            if n != 1 and sizes.get(label, 1) not in (1, n):
                return {}
            sizes[label] = n if sizes.get(label, 1) == 1 else sizes[label]
    return sizes


def _contract(*operands: Any, subscripts: str) -> Any:
    inputs, output = subscripts.split("->")
    sizes = _sizes(inputs, tuple(x.shape for x in operands))
    if math.prod(n for label, n in sizes.items() if label not in output) > ROWS:
        return _long_contract(operands, inputs.split(","), output, sizes)
    # Three operands or more are contracted in pairs: all at once would loop over all labels together.
    return np.einsum(subscripts, *operands, optimize=len(operands) > 2)


def _long_contract(operands: Sequence[Any], words: list[str], output: str, sizes: dict[str, int]) -> Any:
    """Compute long sums in blocks of about `ROWS` products, since NumPy's einsum adds sequentially."""
    terms = []
    for i, (x, word) in enumerate(zip(operands, words, strict=True)):
        elsewhere = output + "".join(words[:i] + words[i + 1 :])
        own = tuple(axis for axis, label in enumerate(word) if label not in elsewhere)
        x = add_up(x, axis=own) if own else x
        terms.append((x, "".join(label for label in word if label in elsewhere)))

    def contracted(cut: Callable[[Any, str], tuple[Any, str]], output: str) -> Any:
        arrays, labels = zip(*(cut(x, word) for x, word in terms), strict=True)
        return _contract(*arrays, subscripts=f"{','.join(labels)}->{output}")

    summed = {label for _, word in terms for label in word if label not in output}
    longest = max(summed, key=lambda label: (sizes[label], label), default="")
    block = max(1, ROWS // math.prod(sizes[label] for label in summed - {longest}))
    parts, left = divmod(sizes.get(longest, 1), block)
    whole = parts * block
    room = 4 * sum(math.prod(x.shape) for x, _ in terms)
    if parts <= 1 or parts * math.prod(sizes[label] for label in output) > room:
        # No sum remains, or there are so many sums that einsum computes them better as a product of matrices.
        return np.einsum(f"{','.join(w for _, w in terms)}->{output}", *(x for x, _ in terms), optimize=parts > 1)
    part = next(label for label in _LABELS if label not in sizes)

    def in_blocks(x: Any, word: str) -> tuple[Any, str]:
        axis = word.find(longest)
        if axis < 0 or x.shape[axis] == 1:
            return x, word
        x = x[(slice(None),) * axis + (slice(whole),)]
        return x.reshape(*x.shape[:axis], parts, block, *x.shape[axis + 1 :]), word.replace(longest, part + longest)

    def remaining(x: Any, word: str) -> tuple[Any, str]:
        axis = word.find(longest)
        return (x if axis < 0 or x.shape[axis] == 1 else x[(slice(None),) * axis + (slice(whole, None),)]), word

    total = add_up(contracted(in_blocks, part + output), axis=0)
    return total + contracted(remaining, output) if left else total


def _contract_rule(
    index: int, g: Any, values: Sequence[Any], shapes: Sequence[tuple[int, ...]], *, subscripts: str
) -> Any:
    inputs, output = subscripts.split("->")
    labels = inputs.split(",")
    mine = labels[index]
    others = [v for i, v in enumerate(values) if i != index]
    sources = [output, *(s for i, s in enumerate(labels) if i != index)]
    # A label that neither another operand nor the output has was summed out: the gradient is constant along it.
    found = "".join(c for c in mine if any(c in s for s in sources))
    g = einsum_primitive(g, *others, subscripts=f"{','.join(sources)}->{found}")
    if found != mine:
        g = g[tuple(slice(None) if c in found else None for c in mine)]
    # So it is along an axis of size 1 in the others. (Along an axis of size 1 in this operand, the engine sums.)
    spread = tuple(n if m == 1 else m for n, m in zip(shapes[index], g.shape, strict=True))
    return g if g.shape == spread else expand(g, shape=spread)


einsum_primitive: Primitive = primitive(
    "einsum",
    _contract,
    "operands",
    (_contract_rule,),
    variadic=True,
    doc="A sum of products over labeled axes. Each operand has every label once; see `einsum` for the rest.",
)


@named_arguments
def einsum(subscripts: str, *operands: Any) -> Any:
    """Sum of products over labeled axes, in Einstein's notation as in ``np.einsum``.

    A label that the output lacks is summed over; one that an operand repeats takes its diagonal; ``...`` denotes
    axes that broadcast. Without ``->`` the output has the labels that occur once, in alphabetical order.

    >>> minigrad.einsum("ij,j->i", minigrad.tensor([[1.0, 2.0], [3.0, 4.0]]), minigrad.tensor([1.0, 10.0]))
    tensor([21., 43.])

    Raises:
        ValueError: if the subscripts do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: the first argument is the subscripts, such as 'ij,jk->ik', not {subscripts!r}")
    text = subscripts.replace(" ", "")
    if not re.fullmatch(r"[A-Za-z.,]*(->[A-Za-z.]*)?", text) or "." in text.replace("...", ""):
        raise ValueError(f"einsum: cannot read subscripts {subscripts!r}")
    inputs, arrow, output = text.partition("->")
    labels = inputs.split(",")
    if any(term.count("...") > 1 for term in (*labels, output)):
        raise ValueError(f"einsum: '...' occurs twice in one operand or in the output of {subscripts!r}")
    if len(labels) != len(operands):
        raise ValueError(f"einsum: subscripts {subscripts!r} name {len(labels)} operands, not {len(operands)}")
    operands = tuple(x if hasattr(x, "shape") else np.asarray(x) for x in operands)
    free = [c for c in _LABELS if c not in text]
    ranks = [len(x.shape) - len(s.replace("...", "")) for s, x in zip(labels, operands, strict=True)]
    for s, x, rank in zip(labels, operands, ranks, strict=True):
        if rank < 0 or (rank and "..." not in s):
            raise ValueError(f"einsum: subscripts {s!r} do not fit an operand of shape {x.shape}")
    widest = "".join(free[: max(ranks, default=0)])
    labels = [s.replace("...", widest[len(widest) - rank :]) for s, rank in zip(labels, ranks, strict=True)]
    if not arrow:
        joined = "".join(labels)
        output = "..." + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in widest))
    output = output.replace("...", widest)
    once = [_diagonal(x, s) for x, s in zip(operands, labels, strict=True)]
    return einsum_primitive(*(x for x, _ in once), subscripts=f"{','.join(s for _, s in once)}->{output}")


def _diagonal(x: Any, labels: str) -> tuple[Any, str]:
    """Take diagonals until each label occurs once."""
    for label in dict.fromkeys(labels):
        places = [i for i, c in enumerate(labels) if c == label]
        if len(places) == 1:
            continue
        sizes = {x.shape[i] for i in places}
        if len(sizes) > 1:
            raise ValueError(f"einsum: label {label!r} has sizes {sorted(sizes)} in an operand of shape {x.shape}")
        rest = [i for i in range(len(labels)) if i not in places]
        x = permute(x, axes=(*places, *rest))
        x = getitem(x, key=(namespace(x).arange(sizes.pop()),) * len(places))
        labels = label + "".join(labels[i] for i in rest)
    return x, labels


# --- linear ----------------------------------------------------------------------------------------------------------


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    out = x @ weight.T if x.shape[-1] <= _LONG else _matmul(x, weight.T)
    if bias is not None:
        out += bias
    return out


def _rows(x: Any) -> Any:
    """All leading axes as one."""
    return x if len(x.shape) == 2 else reshape(x, shape=(-1, x.shape[-1]))


linear = primitive(
    "linear",
    _linear,
    "x weight bias",
    (
        lambda g, weight: matmul(g, weight) if g.shape[-1] > _LONG else g @ weight,
        lambda g, x: matmul(_rows(g).T, _rows(x)) if g.size > _LONG else _rows(g).T @ _rows(x),
        lambda g: g,
    ),
    hint="x needs shape (..., in_features), weight (out_features, in_features) and bias (out_features,)",
    doc="x @ weight.T + bias as one node; ``bias`` may be None.",
)
