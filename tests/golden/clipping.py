"""Run PyTorch, timm and optax on random gradients and store what their clips make of them.

    python tests/golden/clipping.py     writes clipping.npz next to this file

Needs torch 2.13, timm 1.0.31 (may be installed without its dependencies) and optax 0.2.8. `clipped(case, model)` also
serves the live comparison in tests/clipping/test_oracles.py. Everything is float64.
"""

import importlib.machinery
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np

STORED = Path(__file__).resolve().parent / "clipping.npz"
MODELS = {
    "mlp": {"0.weight": (5, 3), "0.bias": (5,), "2.weight": (2, 5), "2.bias": (2,)},
    "odd": {"a.weight": (2, 3, 2, 2), "a.gain": (), "b.weight": (1, 7), "c.weight": (4, 1)},
    "one": {"weight": (129,)},
}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One call: the library, what it clips by, and the numbers."""

    library: str
    by: str
    threshold: float
    order: float = 2.0
    eps: float = 1e-3

    @property
    def name(self) -> str:
        return f"{self.library}-{self.by}-{self.threshold:g}-{self.order:g}-{self.eps:g}"


CASES = (
    *(Case("torch", "norm", threshold, order) for threshold in (0.3, 1e4) for order in (1.0, 2.0, 3.5, inf)),
    *(Case("torch", "value", threshold) for threshold in (0.05, 0.7)),
    *(Case("timm", "unit", threshold, eps=eps) for threshold in (0.01, 0.3) for eps in (1e-3, 2.0)),
    # optax does not add 1e-6 to the norm, so its gradients are scaled to where that is beyond the last digit.
    *(Case("optax", by, threshold) for by in ("block_rms", "global_norm") for threshold in (1e10, 1e12, 1e15)),
)


def problem(model: str) -> tuple[Arrays, Arrays]:
    """Parameters and gradients from uniform random bits, over some decades; the first element of each is exactly 0."""
    rng = np.random.default_rng([7, list(MODELS).index(model)])

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        values = np.asarray(rng.uniform(-1, 1, shape) * 10.0 ** rng.uniform(-2, 1, shape))
        if values.ndim:
            values.flat[0] = 0.0
        return values

    shapes = MODELS[model]
    return {name: draw(shape) for name, shape in shapes.items()}, {name: draw(shape) for name, shape in shapes.items()}


def gradients(case: Case, model: str) -> Arrays:
    """What the case clips."""
    scale = 1e12 if case.library == "optax" else 1.0
    return {name: scale * grad for name, grad in problem(model)[1].items()}


def clipped(case: Case, model: str) -> tuple[Arrays, float]:
    """The gradients after the library's clip, and the norm that it returns (NaN where it returns none)."""
    return _with_optax(case, model) if case.library == "optax" else _with_torch(case, model)


def _with_torch(case: Case, model: str) -> tuple[Arrays, float]:
    import torch

    parameters, grads = problem(model)[0], gradients(case, model)
    tensors = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in parameters.items()}
    for name, tensor in tensors.items():
        tensor.grad = torch.tensor(grads[name])
    norm = np.nan
    if case.by == "norm":
        norm = float(torch.nn.utils.clip_grad_norm_(tensors.values(), case.threshold, case.order))
    elif case.by == "value":
        torch.nn.utils.clip_grad_value_(tensors.values(), case.threshold)
    else:
        _timm().adaptive_clip_grad(tensors.values(), case.threshold, case.eps)
    return {name: tensor.grad.numpy() for name, tensor in tensors.items()}, norm


def _timm():
    """Only timm's file: its package needs dependencies that are not used here."""
    # Not find_spec: another test may have put a bare package in the place of the real one.
    folder = Path(importlib.machinery.PathFinder.find_spec("timm").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("timm_agc", folder / "utils" / "agc.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _with_optax(case: Case, model: str) -> tuple[Arrays, float]:
    import jax
    import optax

    make = {"block_rms": optax.clip_by_block_rms, "global_norm": optax.clip_by_global_norm}[case.by]
    with jax.enable_x64(True):
        clip = make(case.threshold)
        grads = {name: jax.numpy.asarray(grad) for name, grad in gradients(case, model).items()}
        updates, _ = clip.update(grads, clip.init(grads))
        return {name: np.asarray(update) for name, update in updates.items()}, np.nan


def flat(arrays: Arrays) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in arrays.values()])


def runs() -> Iterator[tuple[Case, str]]:
    yield from ((case, model) for model in MODELS for case in CASES)


def load() -> Arrays:
    with np.load(STORED) as file:
        return {name: file[name] for name in file.files}


def main() -> None:
    """Store the gradients of every model, and for every run the clipped ones and then the norm."""
    stored = {model: flat(problem(model)[1]) for model in MODELS}
    for case, model in runs():
        grads, norm = clipped(case, model)
        stored[f"{model}/{case.name}"] = np.append(flat({name: grads[name] for name in MODELS[model]}), norm)
    np.savez_compressed(STORED, **stored)


if __name__ == "__main__":
    main()
