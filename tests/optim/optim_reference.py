"""Textbook optimizers: an oracle that shares no code and no structure with minigrad.

    optimizer = make("Adam", {"0.weight": W, "0.bias": b}, lr=0.1, betas=(0.7, 0.93))
    optimizer.step({"0.weight": gW, "0.bias": None})     # None: skipped, with its state and its age
    optimizer.params["0.weight"]

Everything is float64, one array per tensor. Param groups are `groups=[(names, options), ...]`; Lookahead is
`lookahead={"k": 5, "alpha": 0.5, "momentum": "keep"}` around any of them. A learning rate may be changed between steps
in `optimizer.groups[i][1]["lr"]`. The element-wise formulas are in optim_formulas.py; LAMB and LARS are here because
they need norms of whole tensors or layers.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import optim_formulas as formulas

__all__ = ["ALGORITHMS", "Lookahead", "Textbook", "layer_of", "make", "norm", "nothing", "vectors"]

Array = np.ndarray
Grads = Mapping[str, Array | None]


def vectors(name: str, theta: Array) -> bool:
    """The default exclusion of LAMB and LARS: parameters of one dimension or none."""
    return theta.ndim <= 1


def nothing(name: str, theta: Array) -> bool:
    """Excludes no parameter."""
    return False


def layer_of(name: str) -> str:
    """A parameter's layer is its name up to the last dot."""
    return name.rpartition(".")[0]


def norm(arrays: Iterable[Array]) -> float:
    """Euclidean norm of several arrays taken together."""
    return float(np.sqrt(sum(np.sum(a**2) for a in arrays)))


class Textbook:
    """Parameters, groups, the state and age of each parameter, and one element-wise algorithm."""

    def __init__(self, algorithm: Callable, params: Mapping[str, Array], groups=None, **options) -> None:
        self.algorithm = algorithm
        self.params = {name: np.array(value, dtype=np.float64) for name, value in params.items()}
        self.state = {name: {} for name in params}
        self.age = dict.fromkeys(params, 0)
        self.groups = []
        for names, own in groups or [(tuple(params), {})]:
            group = {**algorithm.__kwdefaults__, "maximize": False, **options, **own}
            unknown = set(group) - set(algorithm.__kwdefaults__) - {"maximize"}
            if unknown:
                raise TypeError(f"{algorithm.__name__} has no option {sorted(unknown)}")
            if "initial_lr" in group:  # what AdamW's decay by the schedule's factor alone divides by
                group["initial_lr"] = group["lr"]
            self.groups.append((tuple(names), group))

    def step(self, grads: Grads) -> None:
        work = {}
        for names, group in self.groups:
            options = {key: value for key, value in group.items() if key != "maximize"}
            for name in names:
                if grads[name] is not None:
                    self.age[name] += 1
                    work[name] = (-grads[name] if group["maximize"] else grads[name], options)
        self.update(work)

    def update(self, work: Mapping[str, tuple[Array, dict]]) -> None:
        """Change the parameters that have a gradient, given (g, options) of each."""
        for name, (g, options) in work.items():
            self.params[name] = self.algorithm(self.params[name], g, self.state[name], self.age[name], **options)


class LayerwiseTextbook(Textbook):
    """What LAMB and LARS share: a direction for each parameter, scaled by a ratio of norms over its scope.

    Scope "tensor" is the parameter itself. Scope "layer" is every parameter of its layer that is adapted and has a
    gradient in this step. A parameter excluded from adaptation has ratio 1, one excluded from decay has λ = 0.
    """

    def update(self, work: Mapping[str, tuple[Array, dict]]) -> None:
        old = dict(self.params)  # norms are taken of the parameters before this step
        decays, directions = {}, {}
        for name, (g, options) in work.items():
            decays[name] = 0.0 if options["exclude_from_decay"](name, old[name]) else options["weight_decay"]
            directions[name] = self.direction(
                old[name], g, self.state[name], self.age[name], {**options, "weight_decay": decays[name]}
            )
        for name, (_, options) in work.items():
            excluded = options["exclude_from_adaptation"]
            scope = [name]
            if options["scope"] == "layer":
                scope = [n for n in work if layer_of(n) == layer_of(name) and not excluded(n, old[n])]
            ratio = 1.0
            if not excluded(name, old[name]):
                ratio = self.ratio(
                    theta_norm=norm(old[n] for n in scope),
                    g_norm=norm(work[n][0] for n in scope),
                    decay_norm=norm(decays[n] * old[n] for n in scope),
                    direction_norm=norm(directions[n] for n in scope),
                    options=options,
                )
            self.params[name] = self.apply(old[name], directions[name], ratio, self.state[name], options)


class LAMB(LayerwiseTextbook):
    """You et al. 2020: u = m̂ / (√v̂ + eps) + λ·theta; theta -= lr · phi(‖theta‖) / ‖u‖ · u, ratio 1 where a norm is 0.

    `phi=(low, high)` clamps ‖theta‖; None is the identity.
    """

    def direction(self, theta, g, state, t, options):
        beta1, beta2 = options["betas"]
        m, v = formulas.moments(g, state, (beta1, beta2))
        adam = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + options["eps"])
        return adam + options["weight_decay"] * theta

    def ratio(self, *, theta_norm, direction_norm, options, **_):
        if theta_norm == 0 or direction_norm == 0:
            return 1.0
        return (theta_norm if options["phi"] is None else np.clip(theta_norm, *options["phi"])) / direction_norm

    def apply(self, theta, u, ratio, state, options):
        return theta - options["lr"] * ratio * u


class LARS(LayerwiseTextbook):
    """You, Gitman, Ginsburg 2017: r = τ‖theta‖ / (‖g‖ + λ‖theta‖ + eps); v = μ·v + lr·r·(g + λ·theta); theta -= v.

    r is 1 where ‖theta‖ is 0, since a layer of zeros would otherwise never move. `lr_in_momentum=False` is
    v = μ·v + r·(g + λ·theta); theta -= lr·v.
    """

    def direction(self, theta, g, state, t, options):
        return g + options["weight_decay"] * theta

    def ratio(self, *, theta_norm, g_norm, decay_norm, options, **_):
        denominator = g_norm + decay_norm + options["eps"]
        if theta_norm == 0 or denominator == 0:
            return 1.0
        return options["trust_coefficient"] * theta_norm / denominator

    def apply(self, theta, direction, ratio, state, options):
        inside, outside = (options["lr"], 1.0) if options["lr_in_momentum"] else (1.0, options["lr"])
        v = options["momentum"] * state.get("momentum_buffer", 0.0) + inside * ratio * direction
        state["momentum_buffer"] = v
        return theta - outside * v


def _lamb(
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-6,
    weight_decay=0.0,
    phi=None,
    scope="tensor",
    exclude_from_decay=vectors,
    exclude_from_adaptation=vectors,
):
    """Names and defaults of LAMB's options."""


def _lars(
    *,
    lr=1.0,
    momentum=0.9,
    weight_decay=0.0,
    trust_coefficient=1e-3,
    eps=1e-8,
    lr_in_momentum=True,
    scope="tensor",
    exclude_from_decay=vectors,
    exclude_from_adaptation=vectors,
):
    """Names and defaults of LARS's options."""


class Lookahead:
    """Zhang et al. 2019: every k steps slow += alpha·(fast - slow), fast = slow; slow weights made here, from theta_0.

    The counter counts calls of `step`, whatever the gradients. At a sync a parameter without a gradient is unchanged,
    as pytorch_optimizer does (the authors' own code syncs it too). The momentum (`momentum_buffer`, or `exp_avg` in
    the Adam family) is kept, reset to zero, or pulled back: the same interpolation with a slow momentum that starts
    at zero. Second moments and ages are never touched.
    """

    def __init__(self, base: Textbook, k: int = 5, alpha: float = 0.5, momentum: str = "keep") -> None:
        self.base, self.k, self.alpha, self.momentum = base, k, alpha, momentum
        self.counter = 0
        self.slow = {name: value.copy() for name, value in base.params.items()}
        self.slow_momentum = {name: np.zeros_like(value) for name, value in base.params.items()}

    @property
    def params(self) -> dict[str, Array]:
        return self.base.params

    @property
    def groups(self) -> list:
        return self.base.groups

    def step(self, grads: Grads) -> None:
        self.base.step(grads)
        self.counter += 1
        if self.counter % self.k == 0:
            for name in self.params:
                if grads[name] is not None:
                    self.sync(name, self.base.state[name])

    def sync(self, name: str, state: dict) -> None:
        fast, slow = self.base.params[name], self.slow[name]
        self.slow[name] = slow + self.alpha * (fast - slow)
        self.base.params[name] = self.slow[name].copy()
        key = next((key for key in ("momentum_buffer", "exp_avg") if key in state), None)
        if key is None or self.momentum == "keep":
            return
        if self.momentum == "reset":
            state[key] = np.zeros_like(fast)
        else:
            slow_momentum = self.slow_momentum[name]
            self.slow_momentum[name] = slow_momentum + self.alpha * (state[key] - slow_momentum)
            state[key] = self.slow_momentum[name].copy()


ALGORITHMS = {
    "SGD": (Textbook, formulas.sgd),
    "Adagrad": (Textbook, formulas.adagrad),
    "RMSprop": (Textbook, formulas.rmsprop),
    "Adam": (Textbook, formulas.adam),
    "AdamW": (Textbook, formulas.adamw),
    "RAdam": (Textbook, formulas.radam),
    "NAdam": (Textbook, formulas.nadam),
    "Adamax": (Textbook, formulas.adamax),
    "Adadelta": (Textbook, formulas.adadelta),
    "Lion": (Textbook, formulas.lion),
    "AdaBelief": (Textbook, formulas.adabelief),
    "LAMB": (LAMB, _lamb),
    "LARS": (LARS, _lars),
}


def make(name: str, params: Mapping[str, Array], groups=None, lookahead: dict | None = None, **options):
    """The textbook optimizer `name` over copies of `params`; an unknown option is a TypeError."""
    kind, algorithm = ALGORITHMS[name]
    optimizer = kind(algorithm, params, groups, **options)
    return optimizer if lookahead is None else Lookahead(optimizer, **lookahead)
