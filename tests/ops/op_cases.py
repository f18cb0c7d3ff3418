"""The registry that drives the tests of primitives: for each one, how to draw a function and inputs to try it on.

A case is a function of hypothesis' ``draw`` that returns a function of tensors and the arrays to call it with. Float
arrays are those whose gradients are checked. Shapes are drawn; values come from a generator, so that ties and kinks
are met only where a test wants them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import ops, random
from minigrad.devices import arrays as devices

Draw = Callable[[st.SearchStrategy[Any]], Any]
Case = Callable[[Draw], tuple[Callable[..., Any], list[Any]]]

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)
SOLID = hnp.array_shapes(min_dims=1, max_dims=3, max_side=3)


def numbers(draw: Draw, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return np.asarray(rng.uniform(low, high, shape))


def beside(x: Any, factor: Any) -> Any:
    """A factor that is not an input of the case, on the device of an input."""
    return None if factor is None else devices.to_device(factor, x.device)


def broadcastable(draw: Draw, count: int) -> tuple[tuple[int, ...], ...]:
    return draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=3)).input_shapes


def axes_of(draw: Draw, shape: tuple[int, ...]) -> Any:
    """None, one axis, or several, counted from either end."""
    kinds = [st.none()]
    if shape:
        kinds += [st.integers(-len(shape), len(shape) - 1), hnp.valid_tuple_axes(len(shape), min_size=1)]
    return draw(st.one_of(*kinds))


def unary(op: Any, low: float = -2.0, high: float = 2.0, **settings: Any) -> Case:
    def case(draw: Draw) -> Any:
        chosen = {name: draw(value) for name, value in settings.items()}
        return lambda x: op(x, **chosen), [numbers(draw, draw(SHAPES), low, high)]

    return case


def binary(op: Any, *ranges: tuple[float, float]) -> Case:
    def case(draw: Draw) -> Any:
        limits = ranges or ((-2.0, 2.0), (-2.0, 2.0))
        shapes = broadcastable(draw, len(limits))
        return op, [numbers(draw, shape, *limit) for shape, limit in zip(shapes, limits, strict=True)]

    return case


def logical(op: Any, arity: int) -> Case:
    def case(draw: Draw) -> Any:
        return op, [numbers(draw, shape) > 0 for shape in broadcastable(draw, arity)]

    return case


def reduction(op: Any, low: float = -2.0, high: float = 2.0, least: int = 0, **settings: Any) -> Case:
    def case(draw: Draw) -> Any:
        shape = draw(hnp.array_shapes(min_dims=least, max_dims=3, min_side=1 + least, max_side=3))
        chosen = {"axis": axes_of(draw, shape), "keepdims": draw(st.booleans())}
        chosen |= {name: draw(value) for name, value in settings.items()}
        return lambda x: op(x, **chosen), [numbers(draw, shape, low, high)]

    return case


def along(op: Any, **settings: Any) -> Case:
    """An op with one axis."""

    def case(draw: Draw) -> Any:
        shape = draw(SOLID)
        chosen = {"axis": draw(st.integers(-len(shape), len(shape) - 1))}
        chosen |= {name: draw(value) for name, value in settings.items()}
        return lambda x: op(x, **chosen), [numbers(draw, shape)]

    return case


def clip(draw: Draw) -> Any:
    x, low, width = (numbers(draw, shape) for shape in broadcastable(draw, 3))
    missing = draw(st.sampled_from(["neither", "low", "high"]))
    if missing == "low":
        return lambda x, high: ops.clip(x, None, high), [x, width]
    if missing == "high":
        return ops.clip, [x, low]
    return lambda x, low, width: ops.clip(x, low, low + width), [x, low, np.abs(width)]


def where(draw: Draw) -> Any:
    condition, a, b = (numbers(draw, shape) for shape in broadcastable(draw, 3))
    return ops.where, [condition > 0, a, b]


def masked(draw: Draw) -> Any:
    x, mask = (numbers(draw, shape) for shape in broadcastable(draw, 2))
    return ops.masked, [x + 0 * mask, mask > 0]


def astype(draw: Draw) -> Any:
    # To its own dtype: a difference in float64 cannot see through a rounding to float32.
    return lambda x: ops.astype(x, dtype=x.dtype), [numbers(draw, draw(SHAPES))]


def reshape(draw: Draw) -> Any:
    shape = draw(SHAPES)
    other = draw(st.sampled_from([shape[::-1], (-1,), (1, *shape), (*shape, 1)]))
    return lambda x: ops.reshape(x, shape=other), [numbers(draw, shape)]


def expand(draw: Draw) -> Any:
    small, large = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)).input_shapes
    large = np.broadcast_shapes(small, large)
    return lambda x: ops.expand(x, shape=large), [numbers(draw, small)]


def transpose(draw: Draw) -> Any:
    shape = draw(SOLID)
    axes = st.integers(-len(shape), len(shape) - 1)
    first, second = draw(axes), draw(axes)
    return lambda x: ops.transpose(x, axis0=first, axis1=second), [numbers(draw, shape)]


def permute(draw: Draw) -> Any:
    shape = draw(SHAPES)
    order = tuple(i - len(shape) * draw(st.booleans()) for i in draw(st.permutations(range(len(shape)))))
    return lambda x: ops.permute(x, axes=order), [numbers(draw, shape)]


def squeeze(draw: Draw) -> Any:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=2))
    single = [i for i, n in enumerate(shape) if n == 1]
    axis = draw(st.sampled_from([None, *single, tuple(single)]))
    return lambda x: ops.squeeze(x, axis=axis), [numbers(draw, shape)]


def unsqueeze(draw: Draw) -> Any:
    shape = draw(SHAPES)
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    return lambda x: ops.unsqueeze(x, axis=axis), [numbers(draw, shape)]


def flip(draw: Draw) -> Any:
    shape = draw(SHAPES)
    axis = axes_of(draw, shape)
    return lambda x: ops.flip(x, axis=axis), [numbers(draw, shape)]


def concatenate(draw: Draw) -> Any:
    shape = draw(SOLID)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    parts = [tuple(n if i == axis % len(shape) else m for i, m in enumerate(shape)) for n in sizes]
    return lambda *xs: ops.concatenate(*xs, axis=axis), [numbers(draw, part) for part in parts]


def stack(draw: Draw) -> Any:
    shape = draw(SHAPES)
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    return lambda *xs: ops.stack(*xs, axis=axis), [numbers(draw, shape) for _ in range(draw(st.integers(1, 3)))]


def pad(draw: Draw) -> Any:
    shape = draw(SHAPES)
    widths = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in shape]
    return lambda x: ops.pad(x, widths=widths, value=0.5), [numbers(draw, shape)]


def key_into(draw: Draw, shape: tuple[int, ...]) -> Any:
    kind = draw(st.sampled_from(["basic", "integers", "mask", "mixed"]))
    if kind == "basic":
        return draw(hnp.basic_indices(shape, allow_newaxis=True))
    if kind == "integers":
        return draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    if kind == "mask":
        return numbers(draw, shape) > 0
    rows = np.asarray(draw(st.lists(st.integers(-shape[0], shape[0] - 1), min_size=1, max_size=4)))
    return (rows, ..., slice(None, None, 2)) if len(shape) > 1 else (rows, None)


def getitem(draw: Draw) -> Any:
    shape = draw(SOLID)
    key = key_into(draw, shape)
    return lambda x: ops.getitem(x, key=key), [numbers(draw, shape)]


def place(draw: Draw) -> Any:
    shape = draw(SOLID)
    key = key_into(draw, shape)
    return lambda g: ops.place(g, key=key, shape=shape), [numbers(draw, np.zeros(shape)[key].shape)]


def take(draw: Draw) -> Any:
    shape = draw(SOLID)
    axis = draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    size = int(np.prod(shape)) if axis is None else shape[axis]
    indices = draw(
        hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=2), elements=st.integers(-size, size - 1))
    )
    return lambda x, i: ops.take(x, i, axis=axis), [numbers(draw, shape), indices]


def put(draw: Draw) -> Any:
    _, (x, indices) = take(draw)
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    if axis is None:
        return lambda g, i: ops.put(g, i, axis=None, shape=x.shape), [numbers(draw, indices.shape), indices % x.size]
    indices = indices % x.shape[axis]
    g = numbers(draw, np.take(x, indices, axis).shape)
    return lambda g, i: ops.put(g, i, axis=axis, shape=x.shape), [g, indices]


def gather(draw: Draw) -> Any:
    shape = draw(SOLID)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    smaller = [draw(st.integers(1, n)) for n in shape]
    smaller[axis] = draw(st.integers(1, 4))
    indices = draw(hnp.arrays(np.int64, tuple(smaller), elements=st.integers(0, shape[axis] - 1)))
    return lambda x, i: ops.gather(x, i, axis=axis), [numbers(draw, shape), indices]


def scatter(draw: Draw) -> Any:
    shape = draw(SOLID)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    indices = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, shape[axis] - 1)))
    return lambda g, i: ops.scatter(g, i, axis=axis, shape=shape), [numbers(draw, shape), indices]


def assign(draw: Draw) -> Any:
    shape = draw(SOLID)
    key = key_into(draw, shape)
    return lambda x, value: ops.assign(x.detach().clone(), value.detach(), key=key), [
        numbers(draw, shape),
        numbers(draw, np.zeros(shape)[key].shape),
    ]


def one_hot(draw: Draw) -> Any:
    shape = draw(SOLID)
    classes = draw(st.integers(1, 4))
    labels = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, classes - 1)))
    return lambda i: ops.one_hot(i, shape=(shape[0], classes, *shape[1:]), dtype=np.int64), [labels]


def embedding(draw: Draw) -> Any:
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    indices = draw(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=2), elements=st.integers(0, rows - 1)))
    return ops.embedding, [indices, numbers(draw, (rows, width))]


def matmul(draw: Draw) -> Any:
    shapes = draw(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=3))
    return ops.matmul, [numbers(draw, shape) for shape in shapes.input_shapes]


def dot(draw: Draw) -> Any:
    n = draw(st.integers(1, 4))
    return ops.dot, [numbers(draw, (n,)), numbers(draw, (n,))]


def outer(draw: Draw) -> Any:
    return ops.outer, [numbers(draw, (draw(st.integers(1, 4)),)), numbers(draw, (draw(st.integers(1, 4)),))]


EINSUMS = [
    ("ij,jk->ik", "ij jk"), ("ij->ji", "ij"), ("ij->", "ij"), ("ij->i", "ij"), ("i,j->ij", "i j"), ("ii->i", "ii"),
    ("ii", "ii"), ("iij,jk->ik", "iij jk"), ("bij,bjk->bik", "bij bjk"), ("ij,ij->", "ij ij"), ("ij,kl->", "ij kl"),
    ("i,ij,j", "i ij j"), ("...ij,...jk->...ik", "bij jk"), ("...i->...", "abi"), ("ij,jk", "ij jk"),
]  # fmt: skip


def einsum(draw: Draw) -> Any:
    subscripts, labels = draw(st.sampled_from(EINSUMS))
    sizes = {label: draw(st.integers(1, 3)) for label in sorted(set(labels) - {" "})}
    arrays = [numbers(draw, tuple(sizes[label] for label in word)) for word in labels.split()]
    return lambda *xs: ops.einsum(subscripts, *xs), arrays


def linear(draw: Draw) -> Any:
    lead, fan_in, fan_out = draw(SHAPES)[:2], draw(st.integers(1, 3)), draw(st.integers(1, 3))
    arrays = [numbers(draw, (*lead, fan_in)), numbers(draw, (fan_out, fan_in))]
    return ops.linear, [*arrays, numbers(draw, (fan_out,))] if draw(st.booleans()) else arrays


def dropout_mask(draw: Draw) -> Any:
    seed, p = draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.3, 1.0]))

    def seeded(x: Any) -> Any:
        random.manual_seed(seed)
        return ops.dropout_mask(x, p=p)

    return seeded, [numbers(draw, draw(SHAPES))]


def dropout(draw: Draw) -> Any:
    x = numbers(draw, draw(SHAPES))
    p = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return lambda x, keep: ops.dropout(x, keep, p=p), [x, numbers(draw, x.shape) > 0]


def standardize(draw: Draw) -> Any:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=3))
    axis = draw(st.sampled_from([*range(-len(shape), len(shape)), tuple(range(len(shape)))]))
    return lambda x: ops.standardize(x, axis=axis, eps=1e-2), [numbers(draw, shape)]


def normalization(op: Any, parameters: int) -> Case:
    def case(draw: Draw) -> Any:
        shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=3))
        ndim = draw(st.integers(1, len(shape)))
        extra = [numbers(draw, shape[-ndim:]) for _ in range(draw(st.integers(0, parameters)))]
        return lambda *xs: op(*xs, ndim=ndim, eps=1e-2), [numbers(draw, shape), *extra]

    return case


REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def regression(op: Any, **settings: Any) -> Case:
    def case(draw: Draw) -> Any:
        shape = draw(SHAPES)
        chosen = {"reduction": draw(REDUCTIONS), **settings}
        return lambda x, t: op(x, t, **chosen), [numbers(draw, shape), numbers(draw, shape)]

    return case


def binary_cross_entropy_with_logits(draw: Draw) -> Any:
    shape, reduction = draw(SHAPES), draw(REDUCTIONS)
    x, target = numbers(draw, shape), numbers(draw, shape, 0, 1)
    weight, pos_weight = ([None, numbers(draw, shape, 0.5, 2)][draw(st.integers(0, 1))] for _ in range(2))

    def loss(x: Any, target: Any) -> Any:
        own = [beside(x, factor) for factor in (weight, pos_weight)]
        return ops.binary_cross_entropy_with_logits(x, target, *own, reduction=reduction)

    return loss, [x, target]


def binary_cross_entropy(draw: Draw) -> Any:
    shape, reduction = draw(SHAPES), draw(REDUCTIONS)
    arrays = [numbers(draw, shape, 0.1, 0.9), numbers(draw, shape, 0, 1)]
    return lambda x, t: ops.binary_cross_entropy(x, t, reduction=reduction), arrays


def classification(op: Any) -> Case:
    def case(draw: Draw) -> Any:
        classes = draw(st.integers(1, 4))
        batch = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))
        labels = draw(hnp.arrays(np.int64, batch, elements=st.integers(0, classes - 1)))
        x = numbers(draw, (*batch[:1], classes, *batch[1:]))
        weight = numbers(draw, (classes,), 0.5, 2) if draw(st.booleans()) else None
        # Class 0 may be the one to ignore, but then not all labels, as the mean of none is undefined.
        ignore = 0 if labels.any() and draw(st.booleans()) else -100
        reduction = draw(REDUCTIONS)

        def loss(x: Any, labels: Any) -> Any:
            own = None if weight is None else beside(x, weight.astype(x.dtype))
            return op(x, labels, own, ignore_index=ignore, reduction=reduction)

        return loss, [x, labels]

    return case


CORRECTION = st.sampled_from([0, 1, 0.5])

CASES: dict[str, Case] = {
    "add": binary(ops.add),
    "subtract": binary(ops.subtract),
    "multiply": binary(ops.multiply),
    "divide": binary(ops.divide, (-2, 2), (0.5, 2)),
    "negative": unary(ops.negative),
    "floor_divide": binary(ops.floor_divide, (-5, 5), (0.5, 2)),
    "remainder": binary(ops.remainder, (-5, 5), (0.5, 2)),
    "power": binary(ops.power, (0.3, 2), (-2, 2)),
    "exp": unary(ops.exp),
    "expm1": unary(ops.expm1),
    "log": unary(ops.log, 0.1, 3),
    "log1p": unary(ops.log1p, -0.8, 2),
    "sqrt": unary(ops.sqrt, 0.1, 3),
    "sin": unary(ops.sin),
    "cos": unary(ops.cos),
    "tanh": unary(ops.tanh),
    "abs": unary(ops.abs),
    "sign": unary(ops.sign),
    "floor": unary(ops.floor),
    "ceil": unary(ops.ceil),
    "round": unary(ops.round),
    "maximum": binary(ops.maximum),
    "minimum": binary(ops.minimum),
    "clip": clip,
    "where": where,
    "equal": binary(ops.equal),
    "not_equal": binary(ops.not_equal),
    "greater": binary(ops.greater),
    "greater_equal": binary(ops.greater_equal),
    "less": binary(ops.less),
    "less_equal": binary(ops.less_equal),
    "masked": masked,
    "logical_and": logical(ops.logical_and, 2),
    "logical_or": logical(ops.logical_or, 2),
    "logical_xor": logical(ops.logical_xor, 2),
    "logical_not": logical(ops.logical_not, 1),
    "isnan": unary(ops.isnan),
    "isinf": unary(ops.isinf),
    "isfinite": unary(ops.isfinite),
    "clone": unary(ops.clone),
    "astype": astype,
    "to_device": unary(ops.to_device, device=st.just("cpu"), source=st.just("cpu")),
    "sigmoid": unary(ops.sigmoid),
    "softplus": unary(ops.softplus),
    "relu": unary(ops.relu),
    "relu6": unary(ops.relu6, -8, 8),
    "leaky_relu": unary(ops.leaky_relu, negative_slope=st.sampled_from([0.01, 0.3, -0.5])),
    "elu": unary(ops.elu, alpha=st.sampled_from([1.0, 0.5])),
    "silu": unary(ops.silu),
    "erfc": unary(ops.erfc),
    "gelu": unary(ops.gelu, approximate=st.sampled_from(["none", "tanh"])),
    "sum": reduction(ops.sum),
    "mean": reduction(ops.mean),
    "var": reduction(ops.var, least=1, correction=CORRECTION),
    "std": reduction(ops.std, least=1, correction=CORRECTION),
    "norm": reduction(ops.norm),
    "max": reduction(ops.max),
    "min": reduction(ops.min),
    "argmax": along(ops.argmax, keepdims=st.booleans()),
    "argmin": along(ops.argmin, keepdims=st.booleans()),
    "any": reduction(ops.any),
    "all": reduction(ops.all),
    "logsumexp": reduction(ops.logsumexp),
    "cumsum": along(ops.cumsum),
    "prod": reduction(ops.prod),
    "matmul": matmul,
    "dot": dot,
    "outer": outer,
    "einsum": einsum,
    "linear": linear,
    "reshape": reshape,
    "expand": expand,
    "transpose": transpose,
    "permute": permute,
    "squeeze": squeeze,
    "unsqueeze": unsqueeze,
    "flip": flip,
    "concatenate": concatenate,
    "stack": stack,
    "pad": pad,
    "getitem": getitem,
    "place": place,
    "take": take,
    "put": put,
    "gather": gather,
    "scatter": scatter,
    "assign": assign,
    "embedding": embedding,
    "softmax": along(ops.softmax),
    "log_softmax": along(ops.log_softmax),
    "dropout": dropout,
    "dropout_mask": dropout_mask,
    "standardize": standardize,
    "layer_norm": normalization(ops.layer_norm, 2),
    "rms_norm": normalization(ops.rms_norm, 1),
    "mse_loss": regression(ops.mse_loss),
    "l1_loss": regression(ops.l1_loss),
    "huber_loss": regression(ops.huber_loss, delta=0.7),
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "binary_cross_entropy": binary_cross_entropy,
    "one_hot": one_hot,
    "nll_loss": classification(ops.nll_loss),
    "cross_entropy": classification(ops.cross_entropy),
}
