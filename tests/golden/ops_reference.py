"""Reference cases for every primitive: the same computation in minigrad and in PyTorch, on fixed inputs.

Ties, kinks and extreme values are among them. Run this file where PyTorch is installed to write ``ops.npz``, which
holds the inputs, PyTorch's values, and PyTorch's gradients for a fixed upstream gradient, in float32 and float64.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORE = Path(__file__).with_name("ops.npz")
DTYPES = ("float32", "float64")

Function = Callable[..., Any]


class Reference(NamedTuple):
    """One computation: ``ours(ops, *tensors)`` and ``theirs(torch, *tensors)`` on ``inputs``."""

    primitive: str
    label: str
    ours: Function
    theirs: Function
    inputs: tuple[np.ndarray, ...]

    @property
    def key(self) -> str:
        return f"{self.primitive}:{self.label}" if self.label else self.primitive


REFERENCES: dict[str, Reference] = {}
_rng = np.random.default_rng(20240711)


def randn(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape).round(3)


def add(primitive: str, ours: Function, theirs: Function, *inputs: Any, label: str = "") -> None:
    entry = Reference(primitive, label, ours, theirs, tuple(np.asarray(x) for x in inputs))
    assert entry.key not in REFERENCES, entry.key
    REFERENCES[entry.key] = entry


def same(primitive: str, *inputs: Any, label: str = "", torch_name: str | None = None) -> None:
    """An op that both call by a plain name."""
    name = torch_name or primitive
    add(primitive, lambda ops, *xs: getattr(ops, primitive)(*xs), lambda t, *xs: getattr(t, name)(*xs), *inputs,
        label=label)  # fmt: skip


INF, NAN = np.inf, np.nan
KINKS = np.array([-2.5, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, 7.0])
EXTREME = np.array([-1e4, -100.0, -50.0, -20.0, -1e-8, 0.0, 1e-8, 19.0, 100.0, 1e4])
A, B = randn(3, 4), randn(3, 4)
TIED = np.array([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -1.0, -2.0, 5.0]])
MASKED = np.array([[1.0, -INF, 2.0], [-INF, -INF, 3.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])

# --- arithmetic and functions of one number --------------------------------------------------------------------------

for op in ("add", "subtract", "multiply"):
    same(op, A, randn(4))
same("divide", A, np.abs(randn(3, 1)) + 0.5)
same("negative", A)
add("floor_divide", lambda ops, a, b: ops.floor_divide(a, b), lambda t, a, b: t.floor(a / b), A * 5,
    [2.0, -1.5, 0.7, 3.0])  # fmt: skip
same("remainder", A * 5, [2.0, -1.5, 0.7, 3.0])
same("power", np.abs(A) + 0.1, B, torch_name="pow")
same("power", [0.0, 0.0, 0.0, 2.0, -2.0, -3.0], [0.0, 1.0, 2.0, 0.0, 2.0, 3.0], label="base 0", torch_name="pow")
for exponent in (0, 1, 2, 3, -1, 0.5):
    add("power", lambda ops, x, e=exponent: ops.power(x, e), lambda t, x, e=exponent: t.pow(x, e),
        [0.5, 1.0, 2.0, 3.5], label=f"to {exponent}")  # fmt: skip
add("power", lambda ops, x: ops.power(x, 2), lambda t, x: t.pow(x, 2), [0.0, -1.5], label="square at 0")
add("power", lambda ops, x: ops.power(x, 0), lambda t, x: t.pow(x, 0), [0.0, -1.5], label="constant at 0")
add("power", lambda ops, x: ops.power(2.0, x), lambda t, x: t.pow(2.0, x), A, label="number base")
add("power", lambda ops, x: ops.power(0.0, x), lambda t, x: t.pow(0.0, x), [0.0, 1.0, 2.5], label="base number 0")
for op in ("exp", "expm1", "sin", "cos", "tanh", "abs", "sigmoid", "sign", "floor", "ceil", "round", "erfc"):
    same(op, A, torch_name={"erfc": "erfc"}.get(op))
    same(op, KINKS, label="kinks")
same("round", [0.5, 1.5, 2.5, -0.5], label="halves")
for op in ("sigmoid", "tanh", "expm1", "erfc"):
    same(op, np.clip(EXTREME, -80, 80), label="extreme")
for op in ("log", "log1p", "sqrt"):
    same(op, np.abs(A) + 0.1)
same("log", [1e-38, 1e-30, 1e-8, 1e30], label="tiny")
same("log1p", [-0.999, -1e-10, 0.0, 1e-10, 1e-30, 1e30], label="tiny")
same("sqrt", [1e-30, 1e-8, 1e30], label="tiny")
same("clone", A)
add("to_device", lambda ops, x: ops.to_device(x, device="cpu", source="cpu"), lambda t, x: x.to("cpu"), A)
add("astype", lambda ops, x: ops.astype(x, dtype=np.float64), lambda t, x: x.to(t.float64), A)

# --- choosing and comparing ------------------------------------------------------------------------------------------

for op in ("maximum", "minimum"):
    same(op, A, B)
    same(op, [1.0, 2.0, 2.0, 0.0], [2.0, 2.0, 1.0, 0.0], label="ties")
add("clip", lambda ops, x: ops.clip(x, -1.0, 3.0), lambda t, x: t.clamp(x, -1.0, 3.0), KINKS, label="at the bounds")
add("clip", lambda ops, x: ops.clip(x, None, 0.5), lambda t, x: t.clamp(x, max=0.5), KINKS, label="above")
add("clip", lambda ops, x: ops.clip(x, 0.5), lambda t, x: t.clamp(x, min=0.5), KINKS)
same("clip", [0.0, 1.0, 2.0, 3.0, 4.0, 2.0], [1.0, 1.0, 1.0, 1.0, 1.0, 3.0], [3.0, 3.0, 3.0, 3.0, 3.0, 2.5],
     label="tensor bounds", torch_name="clamp")  # fmt: skip
same("where", A > 0, A, B)
same("where", [True, False], [1.0, INF], [NAN, 2.0], label="infinity not taken")
add("masked", lambda ops, x, m: ops.masked(x, m), lambda t, x, m: x.masked_fill(~m, 0), [1.0, INF, NAN, -2.0, 3.0],
    [True, False, False, True, False])  # fmt: skip
for ours, theirs in (("equal", "eq"), ("not_equal", "ne"), ("greater", "gt"), ("greater_equal", "ge"), ("less", "lt"),
                     ("less_equal", "le")):  # fmt: skip
    same(ours, [1.0, 2.0, 3.0, NAN], [2.0, 2.0, 2.0, NAN], torch_name=theirs)
for op in ("logical_and", "logical_or", "logical_xor"):
    same(op, [True, True, False, False], [True, False, True, False])
same("logical_not", [True, False])
for op in ("isnan", "isinf", "isfinite"):
    same(op, [0.0, INF, -INF, NAN])

# --- activations -----------------------------------------------------------------------------------------------------


def functional(primitive: str, *inputs: Any, label: str = "", name: str | None = None, **settings: Any) -> None:
    add(
        primitive,
        lambda ops, *xs: getattr(ops, primitive)(*xs, **settings),
        lambda t, *xs: getattr(t.nn.functional, name or primitive)(*xs, **settings),
        *inputs,
        label=label,
    )


for op in ("relu", "relu6", "leaky_relu", "elu", "silu", "gelu"):
    functional(op, A)
    functional(op, KINKS, label="kinks")
    functional(op, EXTREME, label="extreme")
functional("leaky_relu", KINKS, label="slope", negative_slope=0.3)
functional("elu", KINKS, label="alpha", alpha=0.5)
functional("gelu", KINKS, label="tanh", approximate="tanh")
functional("gelu", EXTREME, label="tanh extreme", approximate="tanh")
functional("softplus", A)
# PyTorch returns x itself beyond 20.
functional("softplus", EXTREME[EXTREME != 19.0], label="extreme")

# --- reductions ------------------------------------------------------------------------------------------------------


def reduce(primitive: str, x: Any, label: str, *, name: str | None = None, axis: Any = None, **settings: Any) -> None:
    def theirs(t: Any, x: Any) -> Any:
        options = {{"keepdims": "keepdim"}.get(k, k): v for k, v in settings.items()}
        every = tuple(range(x.ndim)) if axis is None else axis
        return getattr(t, name or primitive)(x, dim=every, **options)

    add(primitive, lambda ops, x: getattr(ops, primitive)(x, axis=axis, **settings), theirs, x, label=label)


for op in ("sum", "mean", "var", "std", "logsumexp"):
    reduce(op, randn(2, 3, 4), "all")
    reduce(op, randn(2, 3, 4), "axis 1", axis=1)
    reduce(op, randn(2, 3, 4), "axes kept", axis=(0, -1), keepdims=True)
for op in ("var", "std"):
    reduce(op, A, "correction 0", axis=1, correction=0)
    reduce(op, TIED, "no spread", axis=1)
# Shifted by hand: PyTorch's gradient is exp(x - out), whose error is the rounding of out: 2e-5 at 1000 in float32.
add(
    "logsumexp",
    lambda ops, x: ops.logsumexp(x, axis=1),
    lambda t, x: t.logsumexp(x - x.amax(1, keepdim=True).detach(), 1) + x.amax(1).detach(),
    MASKED,
    label="masked",
)
reduce("logsumexp", [[-INF, -INF], [INF, 0.0]], "infinite", axis=1)
for op, name in (("max", "amax"), ("min", "amin")):
    reduce(op, randn(3, 4), "all", name=name)
    reduce(op, TIED, "ties", axis=1, name=name)
    reduce(op, TIED, "ties all", name=name)
    reduce(op, TIED, "ties kept", axis=0, keepdims=True, name=name)
add("norm", lambda ops, x: ops.norm(x), lambda t, x: t.linalg.vector_norm(x), A)
add("norm", lambda ops, x: ops.norm(x, axis=1), lambda t, x: t.linalg.vector_norm(x, dim=1), TIED, label="at 0")
for op in ("argmax", "argmin"):
    add(op, lambda ops, x, op=op: getattr(ops, op)(x), lambda t, x, op=op: getattr(t, op)(x), A)
    add(op, lambda ops, x, op=op: getattr(ops, op)(x, axis=1, keepdims=True),
        lambda t, x, op=op: getattr(t, op)(x, dim=1, keepdim=True), A, label="kept")  # fmt: skip
for op in ("any", "all"):
    add(op, lambda ops, x, op=op: getattr(ops, op)(x, axis=1), lambda t, x, op=op: getattr(t, op)(x, dim=1), A > 0)
add("cumsum", lambda ops, x: ops.cumsum(x, axis=1), lambda t, x: t.cumsum(x, 1), A)
add("prod", lambda ops, x: ops.prod(x), lambda t, x: t.prod(x), A)
add("prod", lambda ops, x: ops.prod(x, axis=1), lambda t, x: t.prod(x, 1),
    [[1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]], label="zeros")  # fmt: skip

# --- linear algebra --------------------------------------------------------------------------------------------------

for a, b in (((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((3,), (5, 3, 4)),
             ((5, 2, 3), (3,)), ((2, 3), (5, 3, 4)), ((2, 1, 2, 3), (5, 3, 4))):  # fmt: skip
    same("matmul", randn(*a), randn(*b), label=f"{len(a)}-d {len(b)}-d {a[0]}")
same("dot", randn(4), randn(4))
same("outer", randn(4), randn(3))
for subscripts, shapes in (("ij,jk->ik", ((2, 3), (3, 4))), ("ii->i", ((3, 3),)), ("ij,kl->il", ((2, 3), (4, 2))),
                           ("...ij,jk->...ik", ((5, 2, 3), (3, 4))), ("i,ij,j->", ((2,), (2, 3), (3,)))):  # fmt: skip
    add("einsum", lambda ops, *xs, s=subscripts: ops.einsum(s, *xs), lambda t, *xs, s=subscripts: t.einsum(s, *xs),
        *(randn(*shape) for shape in shapes), label=subscripts)  # fmt: skip
functional("linear", randn(5, 3), randn(2, 3), randn(2))
functional("linear", randn(3), randn(2, 3), label="vector")
functional("linear", randn(2, 5, 3), randn(2, 3), randn(2), label="stack")

# --- shape -----------------------------------------------------------------------------------------------------------


def shaped(primitive: str, x: Any, theirs: Function, label: str = "", **settings: Any) -> None:
    add(primitive, lambda ops, *xs: getattr(ops, primitive)(*xs, **settings), lambda t, *xs: theirs(t, *xs), x,
        label=label)  # fmt: skip


CUBE = randn(2, 3, 4)
shaped("reshape", CUBE, lambda t, x: x.reshape(4, -1), shape=(4, -1))
shaped("expand", randn(3, 1), lambda t, x: x.expand(2, 3, 4), shape=(2, 3, 4))
shaped("transpose", CUBE, lambda t, x: x.transpose(0, -1), axis0=0, axis1=-1)
shaped("permute", CUBE, lambda t, x: x.permute(2, 0, -2), axes=(2, 0, -2))
shaped("squeeze", randn(1, 3, 1), lambda t, x: x.squeeze())
shaped("squeeze", randn(1, 3, 1), lambda t, x: x.squeeze(0), label="one", axis=0)
shaped("unsqueeze", A, lambda t, x: x.unsqueeze(-1), axis=-1)
shaped("flip", CUBE, lambda t, x: x.flip((0, 2)), axis=(0, 2))
shaped("pad", A, lambda t, x: t.nn.functional.pad(x, (0, 2, 1, 3), value=0.5), widths=[(1, 3), (0, 2)], value=0.5)
add("concatenate", lambda ops, *xs: ops.concatenate(*xs, axis=-1), lambda t, *xs: t.cat(xs, -1), A, randn(3, 2))
add("stack", lambda ops, *xs: ops.stack(*xs, axis=1), lambda t, *xs: t.stack(xs, 1), A, B)

# --- indexing --------------------------------------------------------------------------------------------------------

ROWS = np.array([0, 2, 2, -1])
add("getitem", lambda ops, x: ops.getitem(x, key=(slice(None, None, 2), None, -1)), lambda t, x: x[::2, None, -1], CUBE)
add("getitem", lambda ops, x: ops.getitem(x, key=ROWS), lambda t, x: x[t.tensor(ROWS)], A, label="twice the same")
add("getitem", lambda ops, x: ops.getitem(x, key=(..., ROWS)), lambda t, x: x[..., t.tensor(ROWS)], CUBE,
    label="last axis")  # fmt: skip
add("getitem", lambda ops, x: ops.getitem(x, key=A > 0), lambda t, x: x[t.tensor(A > 0)], A, label="mask")
add("place", lambda ops, g: ops.place(g, key=ROWS, shape=(3, 4)),
    lambda t, g: t.zeros(3, 4, dtype=g.dtype).index_add(0, t.tensor(ROWS % 3), g), randn(4, 4))  # fmt: skip
add("take", lambda ops, x: ops.take(x, ROWS % 3, axis=1), lambda t, x: x.index_select(1, t.tensor(ROWS % 3)), CUBE)
add("take", lambda ops, x: ops.take(x, ROWS), lambda t, x: t.take(x, t.tensor(ROWS)), A, label="flat")
LOOKUP = np.array([[2, 0], [0, 0]])
add("gather", lambda ops, x: ops.gather(x, LOOKUP, axis=0), lambda t, x: t.gather(x, 0, t.tensor(LOOKUP)), A)
add("put", lambda ops, g: ops.put(g, ROWS, axis=0, shape=(3, 4)),
    lambda t, g: t.zeros(3, 4, dtype=g.dtype).index_add(0, t.tensor(ROWS % 3), g), 2 * np.eye(4))  # fmt: skip
add("put", lambda ops, g: ops.put(g, ROWS, axis=None, shape=(2, 2)),
    lambda t, g: t.zeros(4, dtype=g.dtype).index_add(0, t.tensor(ROWS % 4), g).reshape(2, 2), A[0],
    label="flat")  # fmt: skip
add("scatter", lambda ops, g: ops.scatter(g, LOOKUP, axis=0, shape=(3, 4)),
    lambda t, g: t.zeros(3, 4, dtype=g.dtype).scatter_add(0, t.tensor(LOOKUP), g), A[:2, :2])  # fmt: skip
add("assign", lambda ops, x, value: ops.assign(x.detach().clone(), value.detach(), key=(slice(None), 1)),
    lambda t, x, value: x.detach().index_copy(1, t.tensor([1]), value.detach()[:, None]), A, A[:, 0])  # fmt: skip
functional("embedding", [[0, 3], [3, 1]], randn(4, 2))
functional("embedding", [[0, 3], [3, 1]], randn(4, 2), label="padding", padding_idx=3)

# --- neural ----------------------------------------------------------------------------------------------------------

for op in ("softmax", "log_softmax"):
    for x, label in ((A, ""), (MASKED, "masked"), (np.array([[1e4, 0.0], [-1e4, 1e4]]), "extreme")):
        add(op, lambda ops, x, op=op: getattr(ops, op)(x, axis=1), lambda t, x, op=op: getattr(t, op)(x, 1), x,
            label=label)  # fmt: skip
add("dropout", lambda ops, x: ops.dropout(x, B > 0, p=0.25), lambda t, x: x * t.tensor(B > 0) / 0.75, A)
for p in (0.0, 1.0):
    add("dropout_mask", lambda ops, x, p=p: ops.dropout_mask(x, p=p),
        lambda t, x, p=p: t.full(x.shape, p == 0), A, label=f"p={p}")  # fmt: skip
add("standardize", lambda ops, x: ops.standardize(x, axis=(-2, -1), eps=1e-3),
    lambda t, x: t.nn.functional.layer_norm(x, x.shape[-2:], eps=1e-3), CUBE)  # fmt: skip
for count in (1, 3):
    add("layer_norm", lambda ops, *xs: ops.layer_norm(*xs, ndim=2),
        lambda t, x, *xs: t.nn.functional.layer_norm(x, x.shape[-2:], *xs),
        *(CUBE, randn(3, 4), randn(3, 4))[:count], label=f"{count} inputs")  # fmt: skip
add("layer_norm", lambda ops, x: ops.layer_norm(x), lambda t, x: t.nn.functional.layer_norm(x, x.shape[-1:]), TIED,
    label="constant row")  # fmt: skip
for eps in (None, 0.1):
    add("rms_norm", lambda ops, *xs, e=eps: ops.rms_norm(*xs, eps=e),
        lambda t, x, *xs, e=eps: t.nn.functional.rms_norm(x, x.shape[-1:], *xs, eps=e), CUBE, randn(4),
        label=f"eps {eps}")  # fmt: skip

# --- losses ----------------------------------------------------------------------------------------------------------

UNIT = np.abs(np.tanh(B))
LABELS = np.array([2, 0, 3])
WEIGHT = np.array([0.5, 1.0, 2.0, 3.0])
add("one_hot", lambda ops, y: ops.one_hot(y, shape=(3, 4), dtype=np.int64),
    lambda t, y: t.nn.functional.one_hot(y, 4), LABELS)  # fmt: skip
for reduction in ("mean", "sum", "none"):
    for op in ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits"):
        functional(op, A, UNIT, label=reduction, reduction=reduction)
    functional("binary_cross_entropy", np.abs(np.tanh(A)), UNIT, label=reduction, reduction=reduction)
    for op in ("nll_loss", "cross_entropy"):
        functional(op, A, LABELS, label=reduction, reduction=reduction)
        functional(op, A, [2, -100, 3], label=f"ignored {reduction}", reduction=reduction)
        add(
            op,
            lambda ops, x, y, op=op, r=reduction: getattr(ops, op)(x, y, WEIGHT, reduction=r),
            lambda t, x, y, op=op, r=reduction: getattr(t.nn.functional, op)(
                x, y, t.tensor(WEIGHT, dtype=x.dtype), reduction=r
            ),
            A,
            LABELS,
            label=f"weighted {reduction}",
        )
        functional(op, CUBE, [[0, 2, 1, 1], [2, 2, 0, 1]], label=f"many axes {reduction}", reduction=reduction)
for op in ("nll_loss", "cross_entropy"):
    functional(op, A[0], np.array(2), label="single example")
    functional(op, A, LABELS, label="ignore a class", ignore_index=2)
add("binary_cross_entropy_with_logits", lambda ops, x, y: ops.binary_cross_entropy_with_logits(x, y, WEIGHT, WEIGHT),
    lambda t, x, y: t.nn.functional.binary_cross_entropy_with_logits(
        x, y, t.tensor(WEIGHT, dtype=x.dtype), pos_weight=t.tensor(WEIGHT, dtype=x.dtype)), A, UNIT,
    label="weighted")  # fmt: skip
functional("l1_loss", [1.0, 2.0, 3.0], [1.0, 0.0, 5.0], label="tie")
functional("huber_loss", [0.0, 0.5, 1.0, 2.0, -3.0], [0.0] * 5, label="kinks", delta=0.5)
functional("binary_cross_entropy_with_logits", [-1e4, -50.0, 0.0, 50.0, 1e4], [1.0, 0.0, 0.5, 0.0, 1.0],
           label="extreme")  # fmt: skip
CERTAIN = np.array([0.0, 1.0, 1.0, 0.5])
add("binary_cross_entropy", lambda ops, x: ops.binary_cross_entropy(x, CERTAIN),
    lambda t, x: t.nn.functional.binary_cross_entropy(x, t.tensor(CERTAIN, dtype=x.dtype)), [0.0, 1.0, 1e-3, 0.5],
    label="certain")  # fmt: skip
functional("cross_entropy", [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], [1, 2], label="extreme")
functional("cross_entropy", [[-INF, 1.0, 2.0], [0.0, -INF, 0.0]], [1, 2], label="masked")


def upstream(shape: tuple[int, ...]) -> np.ndarray:
    """The gradient that arrives at an output."""
    return np.random.default_rng(7).standard_normal(shape).round(3)


def run_torch(entry: Reference, dtype: str) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """PyTorch's values and gradients."""
    import torch

    tensors = [torch.tensor(x.astype(dtype) if x.dtype.kind == "f" else x) for x in entry.inputs]
    for tensor in tensors:
        tensor.requires_grad_(tensor.is_floating_point())
    out = entry.theirs(torch, *tensors)
    if out.requires_grad:
        out.backward(torch.tensor(upstream(tuple(out.shape)), dtype=out.dtype))
    return out.detach().numpy(), [None if t.grad is None else t.grad.numpy() for t in tensors]


def save(arrays: dict[str, np.ndarray]) -> None:
    """One array for all values, as an archive of thousands of small ones is mostly headers. Nothing is rounded."""
    index = [[key, list(a.shape), a.dtype.name] for key, a in arrays.items()]
    values = np.concatenate([a.astype(np.float64).reshape(-1) for a in arrays.values()])
    np.savez_compressed(STORE, values=values, index=json.dumps(index))


def load() -> dict[str, np.ndarray]:
    """What `save` wrote."""
    with np.load(STORE) as archive:
        values, index = archive["values"], json.loads(str(archive["index"]))
    arrays, start = {}, 0
    for key, shape, dtype in index:
        size = math.prod(shape)
        arrays[key] = values[start : start + size].astype(dtype).reshape(shape)
        start += size
    return arrays


def main() -> None:
    """Write the store."""
    stored: dict[str, np.ndarray] = {}
    for key, entry in REFERENCES.items():
        for dtype in DTYPES:
            out, gradients = run_torch(entry, dtype)
            stored[f"{key}/{dtype}/out"] = out
            for i, g in enumerate(gradients):
                if g is not None:
                    stored[f"{key}/{dtype}/grad{i}"] = g
        for i, x in enumerate(entry.inputs):
            stored[f"{key}/in{i}"] = x
    save(stored)


if __name__ == "__main__":
    main()
