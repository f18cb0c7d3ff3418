"""Run PyTorch, timm, optax and pytorch_optimizer on tests/optim/optim_cases.py and store every step.

    python tests/golden/optim_trajectories.py     writes optim_trajectories.npz next to this file

Needs torch 2.13, timm 1.0.31, optax 0.2.8 and pytorch_optimizer 4.1.0; timm may be installed without its dependencies.
`trajectory(case, library)` also serves the live comparison in tests/optim/test_oracles.py. Everything is float64.

These are not used as oracles, because they interpret the algorithm differently from minigrad:
- timm's Lookahead: its slow weights are made at step k, so its first sync does nothing;
- timm's and pytorch_optimizer's LARS under a schedule: the learning rate is outside the momentum (the option, not
  the default); timm's LARS where ‖g‖ = 0: ratio 1; optax's LARS with decay: it divides by ‖g + λθ‖;
- pytorch_optimizer's LAMB: no bias correction of v, ‖θ‖ clamped at 10, eps added to ‖u‖;
- torch's centered RMSprop under a constant gradient: NaN where rounding makes the variance negative;
- optax's unmodified RAdam: eps added to the bias-corrected root, and rectified at rho = threshold as well.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
STORED = HERE / "optim_trajectories.npz"
HELPERS = str(HERE.parent / "optim")
if HELPERS not in sys.path:  # when run as a script
    sys.path.insert(0, HELPERS)

from optim_cases import CASES, Case, flat, problem  # noqa: E402
from optim_reference import layer_of, vectors  # noqa: E402

Names = tuple[str, ...]


def submodule(package: str, module: str) -> types.ModuleType:
    """`package.module`, without the package's `__init__` where that needs dependencies that are not installed."""
    try:
        return importlib.import_module(f"{package}.{module}")
    except ModuleNotFoundError:
        top, *inner = package.split(".")
        spec = importlib.util.find_spec(top)
        if spec is None:
            raise
        path, name = Path(spec.submodule_search_locations[0]), top
        bare = {}
        for part in ["", *inner]:
            path, name = (path / part, f"{name}.{part}") if part else (path, name)
            bare[name] = types.ModuleType(name)
            bare[name].__path__ = [str(path)]
            bare[name].__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        sys.modules.update(bare)
        return importlib.import_module(f"{package}.{module}")


def options_of(case: Case, name: str) -> dict[str, Any]:
    """The options that hold for one parameter: the case's, then its group's."""
    own = next((group for names, group in case.groups or () if name in names), {})
    return {**case.options, **own}


@contextmanager
def torch_in_float64() -> Iterator[Any]:
    """torch keeps NAdam's product of momenta in the default dtype, so float64 parameters are not enough."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield torch
    finally:
        torch.set_default_dtype(before)


def run_torch(
    case: Case, make_optimizers: Callable[[dict[Names, Any]], list[Any]], blocks: list[Names] | None = None,
    negate: bool = False,
) -> np.ndarray:  # fmt: skip
    """Step torch-like optimizers over `blocks`: tuples of names, of which those with several are one flat tensor.

    An optimizer is not called at a step at which none of its parameters has a gradient, unless it is the only one:
    timm and pytorch_optimizer count the steps of a group where torch counts the steps of a parameter.
    """
    with torch_in_float64() as torch:
        initial = case.parameters()
        tensors = {}
        for block in blocks or [(name,) for name in initial]:
            value = initial[block[0]] if len(block) == 1 else flat({name: initial[name] for name in block})
            tensors[block] = torch.nn.Parameter(torch.tensor(value))
        optimizers = make_optimizers(tensors)
        rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        rows = []
        for t, grads in enumerate(case.gradients()):
            for block, tensor in tensors.items():
                if grads[block[0]] is None:
                    tensor.grad = None
                    continue
                value = np.concatenate([np.ravel(grads[name]) for name in block])
                tensor.grad = torch.tensor(-value if negate else value).reshape(tensor.shape)
            for optimizer, initial_rates in zip(optimizers, rates, strict=True):
                for group, lr in zip(optimizer.param_groups, initial_rates, strict=True):
                    group["lr"] = lr if case.lr_factors is None else lr * case.lr_factors[t]
                held = [tensor for group in optimizer.param_groups for tensor in group["params"]]
                if len(optimizers) == 1 or any(tensor.grad is not None for tensor in held):
                    optimizer.step()
            now = {block: tensor.detach().numpy() for block, tensor in tensors.items()}
            rows.append(flat({block: now[block] for block in sorted(now, key=lambda b: list(initial).index(b[0]))}))
        return np.array(rows)


def torch_optimizer(case: Case, tensors: dict[Names, Any]) -> Any:
    """torch's optimizer of that name with the case's param groups."""
    import torch

    groups = case.groups or ((tuple(name for (name,) in tensors), {}),)
    param_groups = [{"params": [tensors[name,] for name in names], **own} for names, own in groups]
    return getattr(torch.optim, case.optimizer)(param_groups, **case.options)


def torch_trajectory(case: Case) -> np.ndarray:
    return run_torch(case, lambda tensors: [torch_optimizer(case, tensors)])


def timm_trajectory(case: Case) -> np.ndarray:
    """One optimizer per tensor, or per layer in scope "layer", where weight and bias become one flat tensor."""
    module = submodule("timm.optim", case.optimizer.lower())
    optimizer = getattr(module, {"LAMB": "Lamb", "LARS": "Lars"}.get(case.optimizer, case.optimizer))
    blocks: dict[str, Names] = {}
    for name in case.names:
        key = layer_of(name) if case.options.get("scope") == "layer" else name
        blocks[key] = (*blocks.get(key, ()), name)

    def make_one(block: Names, tensor: Any) -> Any:
        options = options_of(case, block[0])
        options.pop("maximize", None)
        if case.optimizer == "AdaBelief":
            options["decoupled_decay"] = options.pop("decoupled_weight_decay", False)
            options["rectify"] = False
        if case.optimizer in ("LAMB", "LARS"):
            theta = case.parameters()[block[0]]
            adapted = not options.pop("exclude_from_adaptation", vectors)(block[0], theta)
            decayed = not options.pop("exclude_from_decay", vectors)(block[0], theta)
            assert adapted or not decayed  # in timm decay implies adaptation
            options["always_adapt"] = adapted
            options["weight_decay"] = options.get("weight_decay", 0.0) if decayed else 0.0
            options.pop("scope", None)
        if case.optimizer == "LAMB":
            options["max_grad_norm"] = None
        if case.optimizer == "LARS":
            assert case.lr_factors is None or options["lr_in_momentum"] is False
            options.pop("lr_in_momentum", None)
            options.setdefault("momentum", 0.9)
            options["trust_coeff"] = options.pop("trust_coefficient", 1e-3)
        return optimizer([tensor], **options)

    negate = bool(case.options.get("maximize", False))
    return run_torch(case, lambda tensors: [make_one(*item) for item in tensors.items()], list(blocks.values()), negate)


def pytorch_optimizer_trajectory(case: Case) -> np.ndarray:
    """Lookahead around torch's optimizers; LARS, Lion and AdaBelief with one optimizer per tensor."""
    if case.lookahead is not None:
        kind = submodule("pytorch_optimizer.optimizer", "lookahead").Lookahead
        how = {"k": 5, "alpha": 0.5, "momentum": "keep", **case.lookahead}
        momentum = {"keep": "none"}.get(how["momentum"], how["momentum"])
        return run_torch(case, lambda tensors: [kind(torch_optimizer(case, tensors), how["k"], how["alpha"], momentum)])
    module = submodule("pytorch_optimizer.optimizer", case.optimizer.lower())
    kind = getattr(module, case.optimizer)

    def make_one(block: Names, tensor: Any) -> Any:
        options = options_of(case, block[0])
        if case.optimizer == "AdaBelief":
            options["weight_decouple"] = options.pop("decoupled_weight_decay", False)
        if case.optimizer == "LARS":
            assert options.pop("eps") == 0.0  # its denominator has no eps
        return kind([tensor], **options)

    return run_torch(case, lambda tensors: [make_one(*item) for item in tensors.items()])


def optax_transformation(case: Case, learning_rate: Any, t: Any) -> Any:
    """The case as a chain of optax, before its last sign; `t` counts the steps, from 1, as a traced number."""
    import optax

    def chosen(predicate: Callable[[str, np.ndarray], bool]) -> dict[str, bool]:
        return {name: not predicate(name, value) for name, value in case.parameters().items()}

    o = dict(case.options)
    beta1, beta2 = o.get("betas", (0.9, 0.99 if case.optimizer == "Lion" else 0.999))
    decay, eps, momentum = o.get("weight_decay", 0.0), o.get("eps"), o.get("momentum", 0.0)
    l2, scale = optax.add_decayed_weights(decay), optax.scale_by_learning_rate(learning_rate)
    trace = optax.trace(momentum, nesterov=o.get("nesterov", False)) if momentum else optax.identity()
    match case.optimizer:
        case "SGD":
            return optax.chain(l2, trace, scale)
        case "Adagrad":
            return optax.chain(l2, optax.scale_by_rss(o.get("initial_accumulator_value", 0.0), eps), scale)
        case "RMSprop":
            by = optax.scale_by_stddev if o.get("centered") else optax.scale_by_rms
            return optax.chain(l2, by(o.get("alpha", 0.99), eps), trace, scale)
        case "AdamW" if case.lookahead is not None:
            return optax.adamw(learning_rate, beta1, beta2, eps, weight_decay=decay)
        case "AdamW":  # the decay follows the schedule's factor and not the learning rate
            lr = o["lr"]
            adam = optax.chain(
                optax.scale_by_adam(beta1, beta2, eps), optax.scale(lr), optax.add_decayed_weights(decay)
            )
            return optax.chain(adam, optax.scale_by_learning_rate(lambda count: learning_rate(count) / lr))
        case "RAdam":  # eps / √(1 - beta2^t) added to the corrected root is eps added to the uncorrected one
            shifted = o.get("eps", 1e-8) / (1 - beta2**t) ** 0.5
            return optax.chain(l2, optax.scale_by_radam(beta1, beta2, shifted, threshold=o["threshold"]), scale)
        case "Lion":
            return optax.lion(learning_rate, beta1, beta2, weight_decay=decay)
        case "AdaBelief":
            eps = 1e-16 if eps is None else eps
            return optax.chain(l2, optax.scale_by_belief(beta1, beta2, eps, eps_root=eps), scale)
        case "LAMB":
            decayed = optax.add_decayed_weights(decay, mask=chosen(o.get("exclude_from_decay", vectors)))
            adapted = optax.masked(optax.scale_by_trust_ratio(), chosen(o.get("exclude_from_adaptation", vectors)))
            adam = optax.scale_by_adam(beta1, beta2, 1e-6 if eps is None else eps)
            return optax.chain(adam, decayed, adapted, scale)
        case "LARS":
            assert decay == 0.0
            mask = chosen(vectors)
            return optax.lars(learning_rate, 0.0, mask, o["trust_coefficient"], eps, mask, momentum)
    raise KeyError(case.optimizer)


def optax_trajectory(case: Case) -> np.ndarray:
    """optax over the whole tree, in float64; it knows neither param groups nor missing gradients."""
    import jax
    import jax.numpy as jnp
    import optax

    assert case.groups is None
    assert not case.none_gradients
    with jax.enable_x64(True):
        lr, sign = case.options.get("lr", 1e-3), -1.0 if case.options.get("maximize", False) else 1.0
        factors = None if case.lr_factors is None else jnp.array(case.lr_factors)
        rate = lr if factors is None else lambda count: lr * factors[count]

        def transformation(t: Any) -> Any:
            inner = optax_transformation(case, rate, t)
            if case.lookahead is None:
                return inner
            how = {"k": 5, "alpha": 0.5, "momentum": "keep", **case.lookahead}
            return optax.lookahead(inner, how["k"], how["alpha"], reset_state=how["momentum"] == "reset")

        @jax.jit
        def step(params: Any, state: Any, grads: Any, t: Any) -> Any:
            updates, state = transformation(t).update(grads, state, params)
            return optax.apply_updates(params, updates), state

        params: Any = {name: jnp.asarray(value) for name, value in case.parameters().items()}
        if case.lookahead is not None:
            params = optax.LookaheadParams.init_synced(params)
        state = transformation(1.0).init(params)
        rows = []
        for t, grads in enumerate(case.gradients(), start=1):
            grads = {name: jnp.asarray(sign * g) for name, g in grads.items()}
            params, state = step(params, state, grads, float(t))
            now = params if case.lookahead is None else params.fast
            rows.append(flat({name: np.asarray(now[name]) for name in case.names}))
        return np.array(rows)


LIBRARIES = {
    "torch": torch_trajectory,
    "timm": timm_trajectory,
    "optax": optax_trajectory,
    "pytorch_optimizer": pytorch_optimizer_trajectory,
}


def trajectory(case: Case, library: str) -> np.ndarray:
    """(steps, values) of the case as `library` computes it."""
    return LIBRARIES[library](case)


def main() -> None:
    params, steps = problem()
    arrays = {"problem/parameters": flat(params), "problem/gradients": np.array([flat(grads) for grads in steps])}
    for case in CASES:
        arrays[case.name] = trajectory(case, case.oracles[0])
    np.savez_compressed(STORED, **arrays)
    print(f"{len(CASES)} cases, {STORED.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
