"""Every optimizer of minigrad with the data for its tests: one entry drives the whole suite.

A variant is a set of options with its own chain: the state that it keeps, and the bytes that one step moves
per float32 parameter, as PERFORMANCE lists them (and as counted from the state where it does not: each value that is
read or written is 4 bytes). An entry also lists options that must be refused, with a word from the message.

    for entry in REGISTRY: optimizer = entry.make(params, **entry.variants["default"].options)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optim_reference import make

from minigrad import optim

__all__ = ["ELEMENT_WISE", "REGISTRY", "VARIANTS", "Entry", "Variant", "entry_named"]

NAN = float("nan")


@dataclass(frozen=True)
class Variant:
    """Options, the slots of state they keep, and the bytes of a step (of a fast one, for Lookahead)."""

    options: Mapping[str, Any]
    slots: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class Entry:
    """One optimizer. `element_wise` ones compute each element only from that element.

    `textbook` is the name of its algorithm in optim_reference.py, and `lookahead` the wrapper around that algorithm.
    """

    name: str
    make: Callable[..., optim.Optimizer]
    variants: Mapping[str, Variant]
    errors: tuple[tuple[Mapping[str, Any], str], ...] = ()
    element_wise: bool = True
    lookahead: Mapping[str, Any] | None = None

    @property
    def textbook(self) -> str:
        return self.name if self.lookahead is None else "SGD"

    def reference(self, arrays: Mapping[str, Any], groups: Any = None, **options: Any) -> Any:
        """The textbook version with these options."""
        own = {} if self.lookahead is None else {"momentum": 0.7}
        return make(self.textbook, arrays, groups, self.lookahead, **{**own, **options})


MOMENTS = ("exp_avg", "exp_avg_sq")
BETAS = {"betas": (0.7, 0.93)}
L2 = {"weight_decay": 0.1}


def lookahead(
    params: Any, k: int = 3, alpha: float = 0.3, momentum: str = "pullback", **options: Any
) -> optim.Lookahead:
    """Lookahead around SGD with momentum, with the options of both."""
    return optim.Lookahead(optim.SGD(params, **{"momentum": 0.7, **options}), k, alpha, momentum)


def of_adam_family(name: str, variants: Mapping[str, Variant], **errors: Any) -> Entry:
    """What takes betas, eps and weight decay."""
    refused = (
        ({"betas": (1.0, 0.9)}, "betas"),
        ({"betas": (0.9, -0.1)}, "betas"),
        ({"betas": (0.9, NAN)}, "betas"),
        ({"betas": (0.9,)}, "betas"),
        ({"betas": 0.9}, "betas"),
        ({"eps": -1e-8}, "eps"),
        ({"weight_decay": -0.1}, "weight_decay"),
    )
    more = tuple(({option: value}, option) for option, value in errors.items())
    # Lion has no eps, so that the option is unknown there.
    return Entry(name, getattr(optim, name), variants, refused + more, element_wise=name != "LAMB")


def everything(lr: float, slots: tuple[str, ...], bytes: int, **more: Any) -> dict[str, Variant]:
    """The plain chain, and the one with L2 or decoupled decay and `maximize`."""
    return {
        "default": Variant({"lr": lr}, slots, bytes),
        "decay": Variant({"lr": lr, **L2, **BETAS, "maximize": True, **more}, slots, bytes),
    }


def _registry() -> tuple[Entry, ...]:
    damped = {"lr": 0.05, "momentum": 0.7, "dampening": 0.3}
    sgd = {
        "default": Variant({"lr": 0.05}, (), 12),
        "momentum": Variant(damped, ("momentum_buffer",), 20),
        "nesterov": Variant({"lr": 0.05, "momentum": 0.7, "nesterov": True, **L2}, ("momentum_buffer",), 20),
    }
    sgd_errors = (
        ({"momentum": -0.1}, "momentum"),
        ({"momentum": NAN}, "momentum"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"nesterov": True}, "nesterov needs a momentum"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "no dampening"),
    )
    adagrad = {
        "default": Variant({"lr": 0.05}, ("sum",), 20),
        "decay": Variant(
            {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-2, **L2}, ("sum",), 20
        ),
    }
    adagrad_errors = (
        ({"lr_decay": -0.1}, "lr_decay"),
        ({"initial_accumulator_value": -1.0}, "initial_accumulator_value"),
        ({"eps": -1.0}, "eps"),
    )
    centered = {"lr": 0.02, "alpha": 0.93, "eps": 1e-3, "momentum": 0.7, "centered": True}
    rmsprop = {
        "default": Variant({"lr": 0.02}, ("square_avg",), 20),
        "centered": Variant(centered, ("square_avg", "grad_avg", "momentum_buffer"), 36),
    }
    rmsprop_errors = (({"alpha": -0.1}, "alpha"), ({"alpha": 1.1}, "alpha"), ({"momentum": -1.0}, "momentum"))
    max_slots = (*MOMENTS, "max_exp_avg_sq")
    amsgrad = {"amsgrad": Variant({"lr": 0.05, "betas": (0.7, 0.7), "amsgrad": True}, max_slots, 36)}
    adadelta = {
        "default": Variant({"lr": 1.0}, ("square_avg", "acc_delta"), 28),
        "decay": Variant({"lr": 0.5, "rho": 0.93, "eps": 1e-3, **L2}, ("square_avg", "acc_delta"), 28),
    }
    trust = {"lr": 0.1, "momentum": 0.7, "trust_coefficient": 0.2, "weight_decay": 0.1, "eps": 1e-2}
    lars = {
        "default": Variant({"lr": 0.3}, ("momentum_buffer",), 28),
        "outside": Variant({**trust, "lr_in_momentum": False, "scope": "layer"}, ("momentum_buffer",), 28),
    }
    wrong_trust = (
        ({"scope": "units"}, "scope must be 'tensor' or 'layer'"),
        ({"exclude_from_decay": "bias"}, "exclude_from_decay must be a function"),
    )
    lars_errors = (({"trust_coefficient": -1.0}, "trust_coefficient"), ({"momentum": NAN}, "momentum"), *wrong_trust)
    lamb = {
        "default": Variant({"lr": 0.05}, MOMENTS, 40),
        "layer": Variant({"lr": 0.05, "eps": 1e-2, **L2, **BETAS, "scope": "layer", "phi": (0.1, 2.0)}, MOMENTS, 40),
    }
    slow = {
        "default": Variant({"lr": 0.05}, ("momentum_buffer", "slow", "slow_momentum"), 20),
    }
    slow_errors = (
        ({"k": 0}, "k must be a whole number"),
        ({"k": 2.5}, "k must be a whole number"),
        ({"alpha": 1.5}, "alpha must be a number in"),
        ({"alpha": NAN}, "alpha must be a number in"),
        ({"momentum": "forget"}, "'keep', 'reset' or 'pullback'"),
    )
    decoupled = {"decoupled_weight_decay": True}
    belief = ("exp_avg", "exp_avg_var")
    return (
        Entry("SGD", optim.SGD, sgd, sgd_errors),
        Entry("Adagrad", optim.Adagrad, adagrad, adagrad_errors),
        Entry("RMSprop", optim.RMSprop, rmsprop, rmsprop_errors),
        Entry("Adadelta", optim.Adadelta, adadelta, (({"rho": 1.5}, "rho"), ({"eps": NAN}, "eps"))),
        of_adam_family("Adam", everything(0.05, MOMENTS, 28, **decoupled) | amsgrad),
        of_adam_family("AdamW", everything(0.05, MOMENTS, 28), decay_coupling="none"),
        of_adam_family("RAdam", everything(0.05, MOMENTS, 28), threshold=3.0),
        of_adam_family("NAdam", everything(0.05, MOMENTS, 28), momentum_decay=-1.0),
        of_adam_family("Adamax", everything(0.05, ("exp_avg", "exp_inf"), 28)),
        of_adam_family("AdaBelief", everything(0.05, belief, 28, eps=1e-3)),
        of_adam_family("Lion", everything(0.01, ("exp_avg",), 20)),
        Entry("LARS", optim.LARS, lars, lars_errors, element_wise=False),
        of_adam_family("LAMB", lamb, phi=(2.0, 1.0), scope="global"),
        Entry("Lookahead", lookahead, slow, slow_errors, lookahead={"k": 3, "alpha": 0.3, "momentum": "pullback"}),
    )


REGISTRY = _registry()
ELEMENT_WISE = tuple(entry for entry in REGISTRY if entry.element_wise)
VARIANTS = tuple((entry, name) for entry in REGISTRY for name in entry.variants)


def entry_named(name: str) -> Entry:
    """The entry of that optimizer."""
    return {entry.name: entry for entry in REGISTRY}[name]
