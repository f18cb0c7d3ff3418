"""PyTorch and JAX with optax, set up as their manuals recommend for small work on a CPU.

PyTorch: every implementation that an optimizer has (fused, foreach, the loop over tensors), each on one thread and on
all. JAX: the whole step in one ``jax.jit`` whose parameters and state are donated, optax over tensors and flattened.
The fastest of them is the peer. Libraries that are not installed are omitted.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy.typing as npt

from .timing import Contender, Times, fastest, ratio

NEEDED = {"torch": ("torch",), "jax": ("jax", "optax")}
NAMES = {"torch": "PyTorch", "jax": "JAX with optax"}
# "fused" first: a constructor that does not support it raises.
IMPLEMENTATIONS: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "for-loop": {"foreach": False},
}
Arrays = Mapping[str, npt.NDArray[Any]]


def has(peer: str) -> bool:
    """Whether everything that the peer needs is installed."""
    return all(importlib.util.find_spec(package) is not None for package in NEEDED[peer])


def missing() -> list[str]:
    """Return the names of peers that are not installed."""
    return [NAMES[peer] for peer in NEEDED if not has(peer)]


# --- threads ---------------------------------------------------------------------------------------------------------


@functools.cache
def blas() -> Any:
    """Return what sets the number of threads of NumPy's matrix products, or ``None``."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return None
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas")
    return found if found.lib_controllers else None


@functools.cache
def all_blas_threads() -> int:
    """Return how many threads NumPy's matrix products use by default."""
    return max(library.num_threads for library in blas().lib_controllers) if blas() else 1


def blas_threads(count: int) -> None:
    """Let NumPy's matrix products use this many threads."""
    if blas():
        all_blas_threads()  # remember the default before it changes
        for library in blas().lib_controllers:
            library.set_num_threads(count)


@functools.cache
def all_torch_threads() -> int:
    """Return how many threads PyTorch uses by default."""
    import torch

    return torch.get_num_threads()


def thread_counts(everything: int) -> list[int]:
    """Return one, and all, as numbers of threads."""
    return sorted({1, everything})


def on_threads(name: str, call: Callable[[], Any], units: int = 1) -> Iterator[tuple[str, Contender]]:
    """Yield the contender on one thread of PyTorch and on all."""
    import torch

    for count in thread_counts(all_torch_threads()):
        before = functools.partial(torch.set_num_threads, count)
        yield f"{name}, {count} thread{'s' * (count > 1)}", Contender(call, before, units)


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_optimizers(name: str, make: Callable[[], list[Any]], options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the optimizer in every implementation that it has, each over its own parameters."""
    import torch

    for label, choice in IMPLEMENTATIONS.items():
        try:
            yield label, getattr(torch.optim, name)(make(), **options, **choice)
        except (TypeError, RuntimeError):
            continue


def torch_steps(name: str, arrays: Arrays, options: Mapping[str, Any], clip: float = 0.0) -> dict[str, Contender]:
    """Return whole ``optimizer.step()`` calls over copies of the arrays, after clipping by global norm to ``clip``."""
    import torch

    def make() -> list[Any]:
        made = [torch.from_numpy(array.copy()).requires_grad_() for array in arrays.values()]
        for parameter in made:
            parameter.grad = parameter.detach().clone()
        return made

    found: dict[str, Contender] = {}
    for label, optimizer in torch_optimizers(name, make, options):
        call = optimizer.step
        if clip:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]

            def call(optimizer: Any = optimizer, parameters: list[Any] = parameters) -> None:
                torch.nn.utils.clip_grad_norm_(parameters, clip)
                optimizer.step()

        found |= on_threads(f"PyTorch {label}", call)
    return found


# --- JAX and optax ---------------------------------------------------------------------------------------------------


@functools.cache
def jax_modules() -> tuple[Any, Any]:
    """Return ``jax`` for the CPU, and ``optax``."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import optax

    return jax, optax


def optax_steps(transform: Any, arrays: Arrays) -> dict[str, Contender]:
    """A transformation whose result does not depend on where tensors begin: over tensors, and over all of them as one.

    ``optax.flatten`` is what its manual has for many small tensors.
    """
    flattened = jax_modules()[1].flatten(transform)
    return {"optax, by tensor": optax_step(transform, arrays), "optax, flattened": optax_step(flattened, arrays)}


def optax_step(transform: Any, arrays: Arrays, *, lookahead: bool = False, units: int = 1) -> Contender:
    """Return update and application in one jitted call, which may reuse the memory of parameters and state."""
    jax, optax = jax_modules()
    parameters: Any = {name: jax.numpy.array(array) for name, array in arrays.items()}
    gradients = {name: jax.numpy.array(array) for name, array in arrays.items()}
    if lookahead:
        parameters = optax.LookaheadParams.init_synced(parameters)
        parameters = jax.tree.map(jax.numpy.array, parameters)  # fast and slow must not share memory to be donated

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters: Any, state: Any, gradients: Any) -> Any:
        updates, state = transform.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    held = [parameters, transform.init(parameters)]

    def call() -> None:
        for _ in range(units):
            held[:] = update(*held, gradients)
        jax.block_until_ready(held[0])

    return Contender(call, units=units)


# --- the comparison --------------------------------------------------------------------------------------------------


def best_of(times: Mapping[str, Times], who: str) -> tuple[str, str] | None:
    """Return the fastest contender of a library and the name of its setting, or ``None``."""
    theirs = {name: each for name, each in times.items() if name.startswith(who)}
    if not theirs:
        return None
    best = fastest(theirs)
    return best, best.removeprefix(who).strip(" ,")


def mine(times: Mapping[str, Times], own: str = "minigrad") -> dict[str, Any]:
    """Return the columns of our fastest setting; ``own`` is how the names of our contenders begin."""
    best, setting = best_of(times, own) or (own, "")
    return {f"{own} (µs)": times[best].measure()} | ({f"{own}'s fastest": setting} if setting else {})


def versus(times: Mapping[str, Times], peer: str, own: str = "minigrad") -> dict[str, Any]:
    """Return the columns of a peer's fastest setting compared with ours; none if it did not take part."""
    theirs, ours = best_of(times, peer), best_of(times, own)
    if theirs is None or ours is None:
        return {}
    best, setting = theirs
    columns: dict[str, Any] = {f"{peer} (µs)": times[best].measure()}
    if setting:
        columns[f"{peer}'s fastest"] = setting
    return columns | {f"times faster than {peer}": ratio(times[best], times[ours[0]])}
