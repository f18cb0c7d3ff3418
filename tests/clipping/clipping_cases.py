"""Models with given values and gradients, and clipping written out in NumPy as a second opinion."""

from collections.abc import Iterable, Mapping

import numpy as np

from minigrad import Tensor, nn, optim

__all__ = [
    "ORDERS_AND_SCOPES",
    "RANDOM",
    "SCOPES",
    "clip_by_loop",
    "gradients",
    "grads_of",
    "make_model",
    "norm_of",
    "random_arrays",
    "ranges",
    "run_steps",
    "set_grads",
    "snapshot",
    "two_groups",
]

SCOPES = ("unit", "tensor", "layer", "global")
ORDERS_AND_SCOPES = [(order, scope) for order in (1.0, 2.0, 3.5, np.inf) for scope in SCOPES]
# Several units, one unit, no dimension, four dimensions, no elements; more elements than one row of a norm's lanes.
RANDOM = {
    "0.weight": (7, 300),
    "0.bias": (7,),
    "1.weight": (2, 3, 2, 2),
    "1.scale": (),
    "1.empty": (0,),
    "2.weight": (1, 9),
}

Arrays = Mapping[str, np.ndarray]
Ranges = dict[str, list[tuple[str, int | slice]]]


def random_arrays(shapes: Mapping[str, tuple[int, ...]], seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Normal random values by name, over two decades from tensor to tensor."""
    rng = np.random.default_rng(seed)
    return {
        name: np.asarray(scale * 10.0 ** rng.uniform(-1, 1) * rng.normal(size=shape)) for name, shape in shapes.items()
    }


def make_model(params: Arrays, grads: Mapping[str, np.ndarray | None], dtype=np.float64) -> nn.Module:
    """A module with these parameters in their layers, and these gradients set by hand."""
    model = nn.Module()
    for name, value in params.items():
        layer, _, attribute = name.rpartition(".")
        owner = model
        if layer:
            if layer not in dict(model.named_children()):
                setattr(model, layer, nn.Module())
            owner = getattr(model, layer)
        setattr(owner, attribute, nn.Parameter(value.astype(dtype)))
    set_grads(model, grads)
    return model


def set_grads(model: nn.Module, grads: Mapping[str, np.ndarray | None]) -> None:
    for name, parameter in model.named_parameters():
        grad = grads[name]
        parameter.grad = None if grad is None else Tensor(grad.astype(parameter.dtype))


def grads_of(parameters: nn.Module | Iterable[Tensor]) -> list[np.ndarray | None]:
    """Copies of the gradients."""
    tensors = parameters.parameters() if isinstance(parameters, nn.Module) else parameters
    return [None if tensor.grad is None else tensor.grad.data.copy() for tensor in tensors]


def snapshot(model: nn.Module) -> list[bytes]:
    """The bits of every parameter."""
    return [parameter.data.tobytes() for parameter in model.parameters()]


def ranges(shapes: Mapping[str, tuple[int, ...]], scope: str) -> Ranges:
    """For each range at a scope its name, and its pieces: a tensor, or one row of it."""
    found: Ranges = {}
    for name, shape in shapes.items():
        if scope == "unit" and len(shape) >= 2 and shape[0] > 1:
            for row in range(shape[0]):
                found[f"{name}[{row}]"] = [(name, row)]
        else:
            key = {"unit": name, "tensor": name, "layer": name.rpartition(".")[0], "global": "global"}[scope]
            found.setdefault(key, []).append((name, slice(None)))
    return found


def norm_of(arrays: Arrays, pieces: Iterable[tuple[str, int | slice]], order: float) -> float:
    """The norm over some pieces, by its definition."""
    values = np.concatenate([np.ravel(_piece(arrays, *piece)) for piece in pieces]).astype(np.float64)
    if order == np.inf:
        return float(np.max(np.abs(values), initial=0.0))
    return float(np.sum(np.abs(values) ** order) ** (1 / order))


def clip_by_loop(grads: Arrays, scope: str, max_norm: float, order: float = 2.0) -> dict[str, np.ndarray]:
    """Each range of the gradients shortened to `max_norm`, one after the other."""
    clipped = {name: grad.copy() for name, grad in grads.items()}
    shapes = {name: grad.shape for name, grad in grads.items()}
    for pieces in ranges(shapes, scope).values():
        factor = np.minimum(1.0, max_norm / (norm_of(grads, pieces, order) + 1e-6))  # NaN where the norm is NaN
        for name, piece in pieces:
            if grads[name].ndim:
                clipped[name][piece] *= factor
            else:
                clipped[name] = clipped[name] * factor
    return clipped


def _piece(arrays: Arrays, name: str, piece: int | slice) -> np.ndarray:
    return arrays[name][piece] if arrays[name].ndim else arrays[name]


def gradients(step: int, shapes: Mapping[str, tuple[int, ...]] = RANDOM) -> dict[str, np.ndarray | None]:
    """From step to step other gradients, long and short ones, and other parameters without one."""
    grads = random_arrays(shapes, seed=10 + step, scale=10.0 ** (1 - step))
    return {name: None if (i + step) % 4 == 0 else grad for i, (name, grad) in enumerate(grads.items())}


def run_steps(dtype, make_optimizer, clip_before=None, shapes=RANDOM):
    """The bits of parameters and state after every step; `clip_before` changes the gradients in place first."""
    model = make_model(random_arrays(shapes, seed=2), gradients(0, shapes), dtype)
    optimizer = make_optimizer(list(model.named_parameters()))
    bits = []
    for step in range(4):
        set_grads(model, gradients(step, shapes))
        if clip_before is not None:
            clip_before(model.parameters())
        before = grads_of(model)
        optimizer.step()
        for a, b in zip(grads_of(model), before, strict=True):
            np.testing.assert_array_equal(a, b)
        state = {
            name: {slot: value.tobytes() if isinstance(value, np.ndarray) else value for slot, value in slots.items()}
            for name, slots in optimizer.state_dict()["state"].items()
        }
        bits.append((snapshot(model), state))
    return bits


def two_groups(name, **options):
    """A function that makes the optimizer, with a second group that learns faster."""

    def make(named):
        return getattr(optim, name)([{"params": named[::2]}, {"params": named[1::2], "lr": 0.02}], lr=0.01, **options)

    return make
