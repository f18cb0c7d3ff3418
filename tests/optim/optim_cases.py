"""The problem and the cases on which every optimizer is compared: textbook, libraries, minigrad.

A case is a name, an optimizer with constructor options in PyTorch's terms, and the particulars of the run. Its
gradients do not depend on the parameters, so that rounding differences stay rounding differences. The options are
far from the defaults on purpose (eps 1e-2 and 1e-3, betas 0.7 and 0.93, weight decay 0.1): at eps = 1e-8 an eps in the
wrong place is invisible.

    for case in CASES:
        params, steps = case.parameters(), case.gradients()   # {name: array}, [{name: array or None}] * 25
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optim_reference import make, nothing

__all__ = ["CASES", "SHAPES", "STEPS", "Case", "assert_same_trajectory", "case_named", "flat", "problem", "textbook"]

STEPS = 25
SHAPES = {
    "0.weight": (4, 3),
    "0.bias": (3,),
    "gain.scale": (),
    "1.weight": (2, 3, 2),
    "embed.empty": (0,),
    "head.one": (1,),
}
ALL = tuple(SHAPES)
FEW = ("0.weight", "0.bias", "gain.scale")  # the stored file stays small: fewer tensors where a case has one subject,
FEWEST = ("0.bias", "gain.scale", "head.one")  # and fewest where only one option of an element-wise algorithm is set

Arrays = Mapping[str, np.ndarray]


def problem() -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    """Initial parameters and the gradients of every step, from uniform random bits, the same on every machine.

    (Powers are not, to their last bit: processors compute them in different ways.) Parameters have magnitude 0.5 to
    1.5. Gradients span two decades, so that eps = 1e-2 matters for some and not all.
    """
    rng = np.random.default_rng(20240607)

    def signed(low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(rng.uniform(low, high, shape) * np.where(rng.random(shape) < 0.5, -1.0, 1.0))

    params = {name: signed(0.5, 1.5, shape) for name, shape in SHAPES.items()}
    scale = {name: np.asarray(10.0 ** rng.uniform(-2, 0, shape)) for name, shape in SHAPES.items()}
    steps = [{name: scale[name] * signed(0.1, 1.5, shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]
    return params, steps


@dataclass(frozen=True)
class Case:
    """One run. `oracles` are the libraries that compute it as SEMANTICS reads it; the first one's run is stored."""

    optimizer: str
    subject: str
    options: Mapping[str, Any] = field(default_factory=dict)
    oracles: tuple[str, ...] = ("torch",)
    names: tuple[str, ...] = FEW
    groups: tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...] | None = None
    lookahead: Mapping[str, Any] | None = None
    lr_factors: tuple[float, ...] | None = None
    none_gradients: bool = False
    zeros: bool = False

    @property
    def name(self) -> str:
        wrapper = "Lookahead/" if self.lookahead is not None else ""
        return f"{wrapper}{self.optimizer}/{self.subject}"

    def parameters(self) -> dict[str, np.ndarray]:
        params = {name: value.copy() for name, value in problem()[0].items() if name in self.names}
        if self.zeros:
            params["0.weight"][:] = 0.0
        return params

    def gradients(self) -> list[dict[str, np.ndarray | None]]:
        """With `none_gradients`, parameter i has none at steps t where (t + 2i) % 5 == 1, and none has one at t = 7.

        With `zeros`, "0.weight" starts at zero and has a zero gradient for two steps, and "1.weight" has a zero
        gradient at steps 1, 9 and 10.
        """
        steps: list[dict[str, np.ndarray | None]] = []
        for t, grads in enumerate(problem()[1], start=1):
            step: dict[str, np.ndarray | None] = {name: grads[name].copy() for name in self.names}
            for i, name in enumerate(self.names):
                if self.none_gradients and ((t + 2 * i) % 5 == 1 or t == 7):
                    step[name] = None
                if self.zeros and ((name == "0.weight" and t <= 2) or (name == "1.weight" and t in (1, 9, 10))):
                    step[name] = np.zeros_like(grads[name])
            steps.append(step)
        return steps


def flat(params: Arrays) -> np.ndarray:
    """All values in the order of the dictionary: one row of a stored trajectory."""
    return np.concatenate([np.ravel(value) for value in params.values()])


def textbook(case: Case, **changed: Any) -> np.ndarray:
    """Trajectory (STEPS, number of values) of the textbook version; `changed` overrides options of the case."""
    optimizer = make(case.optimizer, case.parameters(), case.groups, case.lookahead, **{**case.options, **changed})
    initial = [group["lr"] for _, group in optimizer.groups]
    rows = []
    for t, grads in enumerate(case.gradients()):
        if case.lr_factors is not None:
            for (_, group), lr in zip(optimizer.groups, initial, strict=True):
                group["lr"] = lr * case.lr_factors[t]
        optimizer.step(grads)
        rows.append(flat(optimizer.params))
    return np.array(rows)


def assert_same_trajectory(
    actual: np.ndarray, expected: np.ndarray, rtol: float = 1e-12, case: Case | None = None, beside: str = "expected"
) -> None:
    """Equal at every step to `rtol`, relative to each value; `case` and `beside` name the compared values in a failure.

    A parameter that crosses zero keeps the absolute rounding error of its terms, all near 1 here, so
    below 0.01 the error is measured against 0.01.
    """
    assert actual.shape == expected.shape
    error = np.abs(actual - expected) / np.maximum(np.abs(expected), 0.01)
    wrong = ~(error <= rtol)
    if not wrong.any():
        return
    step = int(np.argmax(wrong.any(axis=1)))
    place = int(np.argmax(np.where(wrong[step], np.nan_to_num(error[step], nan=np.inf), -1)))
    subject = f"{case.name} with {dict(case.options)}" if case else "the run"
    here, there = float(actual[step, place]), float(expected[step, place])
    raise AssertionError(
        f"{subject} differs first at step {step + 1}, there in {wrong[step].sum()} of {wrong.shape[1]} values, most in "
        f"{_value_name(case, place)}: {here!r} here, {there!r} {beside}; relative error "
        f"{error[step, place]:.2g}, limit {rtol:g}"
    )


def _value_name(case: Case | None, place: int) -> str:
    """The parameter and index of a column of a trajectory."""
    for name, value in case.parameters().items() if case else ():
        if place < value.size:
            index = np.unravel_index(place, value.shape)
            return name + (f"[{', '.join(map(str, index))}]" if index else "")
        place -= value.size
    return f"value {place}"


BETAS = {"betas": (0.7, 0.93)}
OTHER = {"lr": 0.02, "betas": (0.8, 0.97)}  # the second param group
TRAPS = {"lr": 0.05, "eps": 1e-2, "weight_decay": 0.1, **BETAS}
COSINE = tuple(0.55 + 0.45 * float(np.cos(np.pi * t / STEPS)) for t in range(STEPS))
FIRST, SECOND = ("0.weight", "gain.scale", "head.one"), ("0.bias", "1.weight", "embed.empty")


def each_alone(optimizer: str, lr: float, oracles: tuple[str, ...], **options: Any) -> Iterator[Case]:
    """A case per option, at a learning rate large enough to see it."""
    names = FEW if optimizer in ("LAMB", "LARS") else FEWEST
    for option, value in options.items():
        own = value if isinstance(value, dict) else {option: value}
        yield Case(optimizer, option, {"lr": lr, **own}, oracles, names)


def on_everything(
    optimizer: str, oracles: tuple[str, ...], options: Mapping[str, Any], second: Mapping[str, Any]
) -> Iterator[Case]:
    """Two param groups, and gradients that are missing now and then, on tensors of every shape."""
    groups = ((FIRST, {}), (SECOND, second))
    yield Case(optimizer, "two_groups", options, oracles, ALL, groups)
    yield Case(optimizer, "none_gradients", options, oracles, ALL, none_gradients=True)


def sgd_like() -> Iterator[Case]:
    torch, both, in_root = ("torch",), ("torch", "optax"), ("optax",)
    yield Case("SGD", "default", {}, both)
    yield from each_alone("SGD", 0.05, both, momentum=0.7, weight_decay=0.1, maximize=True)
    yield Case("SGD", "dampening", {"lr": 0.05, "momentum": 0.7, "dampening": 0.3})
    yield Case("SGD", "nesterov", {"lr": 0.05, "momentum": 0.7, "nesterov": True}, both)
    damped = {"lr": 0.05, "momentum": 0.7, "dampening": 0.3, "weight_decay": 0.1}
    yield Case("SGD", "combined", {**damped, "maximize": True}, torch, ALL)
    yield Case("SGD", "combined_nesterov", {**damped, "dampening": 0.0, "nesterov": True}, both, ALL)
    yield from on_everything("SGD", torch, damped, {"lr": 0.02, "momentum": 0.4})

    yield Case("Adagrad", "default")
    yield from each_alone("Adagrad", 0.05, torch, lr_decay=0.1, initial_accumulator_value=0.3, eps=1e-2)
    yield from each_alone("Adagrad", 0.05, torch, weight_decay=0.1, maximize=True)
    yield Case("Adagrad", "eps_in_sqrt", {"lr": 0.05, "eps": 1e-2, "eps_in_sqrt": True}, in_root)
    summed = {"lr": 0.05, "initial_accumulator_value": 0.02, "eps": 1e-3, "weight_decay": 0.1}
    yield Case("Adagrad", "combined", {**summed, "lr_decay": 0.1, "maximize": True}, torch, ALL)
    yield Case("Adagrad", "combined_eps_in_sqrt", {**summed, "eps_in_sqrt": True}, in_root, ALL)
    yield from on_everything("Adagrad", torch, {**summed, "lr_decay": 0.1}, {"lr": 0.02, "lr_decay": 0.3})

    yield Case("RMSprop", "default")
    yield from each_alone("RMSprop", 0.02, torch, alpha=0.7, eps=1e-2, momentum=0.7, centered=True)
    yield from each_alone("RMSprop", 0.02, torch, weight_decay=0.1, maximize=True)
    yield Case("RMSprop", "eps_in_sqrt", {"lr": 0.02, "eps": 1e-2, "eps_in_sqrt": True}, in_root)
    centered = {"lr": 0.02, "alpha": 0.93, "eps": 1e-3, "momentum": 0.7, "centered": True, "weight_decay": 0.1}
    yield Case("RMSprop", "combined", {**centered, "maximize": True}, torch, ALL)
    yield Case("RMSprop", "combined_eps_in_sqrt", {**centered, "eps_in_sqrt": True}, in_root, ALL)
    yield from on_everything("RMSprop", torch, centered, {"lr": 0.05, "alpha": 0.7})

    yield Case("Adadelta", "default")
    yield from each_alone("Adadelta", 1.0, torch, rho=0.7, eps=1e-2, weight_decay=0.1, maximize=True)
    deltas = {"lr": 0.5, "rho": 0.93, "eps": 1e-3, "weight_decay": 0.1}
    yield Case("Adadelta", "combined", {**deltas, "maximize": True}, torch, ALL)
    yield from on_everything("Adadelta", torch, deltas, {"lr": 0.8, "rho": 0.7})


def adam_like() -> Iterator[Case]:
    torch = ("torch",)
    decoupled = {"weight_decay": 0.1, "decoupled_weight_decay": True}

    for name in ("Adam", "AdamW", "RAdam", "NAdam", "Adamax"):
        yield Case(name, "default")
        yield from each_alone(name, 0.05, torch, betas=BETAS, eps=1e-2, weight_decay=0.1, maximize=True)
        yield Case(name, "combined", {**TRAPS, "eps": 1e-3, "maximize": True}, torch, ALL)
        yield from on_everything(name, torch, TRAPS, OTHER)
    for name in ("Adam", "RAdam", "NAdam"):
        yield Case(name, "decoupled_weight_decay", {**TRAPS, **decoupled})
    for name in ("Adam", "AdamW"):
        yield Case(name, "amsgrad", {"lr": 0.05, "betas": (0.7, 0.7), "amsgrad": True})
        yield Case(name, "combined_amsgrad", {**TRAPS, "betas": (0.7, 0.7), "amsgrad": True}, torch, ALL)
    yield Case("NAdam", "momentum_decay", {"lr": 0.05, "momentum_decay": 0.3})

    yield Case("AdamW", "schedule", TRAPS, lr_factors=COSINE)
    yield Case(
        "AdamW", "decay_by_schedule_only", {**TRAPS, "decay_coupling": "schedule"}, ("optax",), lr_factors=COSINE
    )
    yield Case("RAdam", "threshold", {"lr": 0.05, "threshold": 4.0}, ("optax",))
    yield Case("RAdam", "combined_threshold", {**TRAPS, "threshold": 4.0}, ("optax",), ALL)

    signed = {"lr": 0.05, "weight_decay": 0.1, **BETAS}
    signs = ("timm", "pytorch_optimizer", "optax")
    yield Case("Lion", "default", {"lr": 1e-3}, signs)
    yield from each_alone("Lion", 0.05, signs, betas=BETAS, weight_decay=0.1, maximize=True)
    yield Case("Lion", "combined", {**signed, "maximize": True}, signs, ALL)
    yield from on_everything("Lion", ("timm", "pytorch_optimizer"), signed, OTHER)

    believers = ("timm", "pytorch_optimizer", "optax")
    yield Case("AdaBelief", "default", {"lr": 1e-3}, believers)
    yield from each_alone("AdaBelief", 0.05, believers, betas=BETAS, eps=1e-3, weight_decay=0.1, maximize=True)
    yield Case("AdaBelief", "decoupled_weight_decay", {**TRAPS, **decoupled}, believers[:2])
    yield Case("AdaBelief", "combined", {**TRAPS, "maximize": True}, believers, ALL)
    yield from on_everything("AdaBelief", ("timm",), TRAPS, OTHER)


def layer_wise() -> Iterator[Case]:
    everything = {"exclude_from_decay": nothing, "exclude_from_adaptation": nothing}

    lamb = ("timm", "optax")
    yield Case("LAMB", "default", {"lr": 0.01, "weight_decay": 0.0}, lamb)
    yield from each_alone("LAMB", 0.05, lamb, betas=BETAS, eps=1e-2, weight_decay=0.1, maximize=True)
    yield Case("LAMB", "combined", {**TRAPS, "eps": 1e-3, "maximize": True}, lamb, ALL)
    yield Case("LAMB", "nothing_excluded", {**TRAPS, **everything}, lamb, ALL)
    yield Case("LAMB", "only_decay_excluded", {**TRAPS, "exclude_from_adaptation": nothing}, lamb, ALL)
    yield Case("LAMB", "only_adaptation_excluded", {**TRAPS, "exclude_from_decay": nothing}, ("optax",), ALL)
    yield Case("LAMB", "scope_layer", {**TRAPS, **everything, "scope": "layer"}, ("timm",), ALL)
    yield Case("LAMB", "schedule", TRAPS, lamb, lr_factors=COSINE)
    yield Case("LAMB", "zeros", TRAPS, lamb, ALL, zeros=True)
    yield from on_everything("LAMB", ("timm",), TRAPS, OTHER)

    lars = ("timm",)
    trust = {"lr": 0.1, "momentum": 0.7, "trust_coefficient": 0.2, "weight_decay": 0.1, "eps": 1e-2}
    yield Case("LARS", "default", {"lr": 0.3, "momentum": 0.9}, lars)
    yield from each_alone("LARS", 0.3, lars, momentum=0.0, weight_decay=0.1, trust_coefficient=0.05, maximize=True)
    yield Case("LARS", "eps", {"lr": 0.3, "eps": 1e-2}, lars)
    yield Case("LARS", "combined", {**trust, "eps": 1e-3, "maximize": True}, lars, ALL)
    yield Case("LARS", "nothing_excluded", {**trust, **everything}, lars, ALL)
    yield Case("LARS", "scope_layer", {**trust, **everything, "scope": "layer"}, lars, ALL)
    # timm multiplies the momentum by the learning rate, so it is not an oracle for the default under a schedule; optax
    # divides by ‖g + λθ‖ where the paper divides by ‖g‖ + λ‖θ‖, so it is one only without decay.
    yield Case("LARS", "schedule", {**trust, "weight_decay": 0.0}, ("optax",), lr_factors=COSINE)
    yield Case("LARS", "schedule_outside_momentum", {**trust, "lr_in_momentum": False}, lars, lr_factors=COSINE)
    # timm has ratio 1 also where ‖g‖ is 0; pytorch_optimizer computes the formula there, but knows no eps.
    yield Case("LARS", "zeros", {**trust, "eps": 0.0}, ("pytorch_optimizer",), ALL, zeros=True)
    yield from on_everything("LARS", lars, trust, {"lr": 0.04, "momentum": 0.4})


def lookahead() -> Iterator[Case]:
    # timm's Lookahead makes its slow weights at step k, so its first sync does nothing: no oracle.
    both = ("pytorch_optimizer", "optax")
    momentum = {"lr": 0.05, "momentum": 0.7}
    yield Case("SGD", "default", {"lr": 0.05}, both, lookahead={})
    yield Case("SGD", "keep", momentum, both, lookahead={"k": 3, "alpha": 0.3, "momentum": "keep"})
    yield Case("SGD", "reset", momentum, both, lookahead={"k": 3, "alpha": 0.3, "momentum": "reset"})
    yield Case("SGD", "pullback", momentum, both[:1], lookahead={"k": 3, "alpha": 0.3, "momentum": "pullback"})
    yield Case("AdamW", "keep", TRAPS, both, ALL, lookahead={"k": 4, "alpha": 0.8})
    groups = ((FIRST, {}), (SECOND, OTHER))
    yield Case("RAdam", "two_groups", TRAPS, both[:1], ALL, groups, lookahead={"k": 4, "alpha": 0.8})
    yield Case("SGD", "none_gradients", momentum, both[:1], ALL, none_gradients=True, lookahead={"k": 3, "alpha": 0.3})


CASES = (*sgd_like(), *adam_like(), *layer_wise(), *lookahead())


def case_named(name: str) -> Case:
    """The case of that name."""
    return {case.name: case for case in CASES}[name]
