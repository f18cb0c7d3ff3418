"""Plan: a chain divided into passes over memory, with the values that each pass moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..rules import Norm, Rule
from .lower import Lowered, lower

Element = Rule | Norm


@dataclass(frozen=True)
class Pass:
    """One sweep over the elements: rules fused into one loop, then norms of its results.

    Attributes:
        rules: the rules, in order.
        norms: the norms taken at the end of the pass.
        lowered: the statements of the loop.
        loads, stores: the flat arrays that the loop reads and writes; ``update`` is a scratch array, which exists
            only if a pass leaves an update to the next one.
        normed: for each norm, the array that it sweeps.
        coarse: whether its blocks are cut by tensors although the plan has norms of units too. So a norm over a
            tensor, a layer or everything is the same sum of the same parts, with or without a clip by unit.
    """

    rules: tuple[Rule, ...]
    norms: tuple[Norm, ...]
    lowered: Lowered
    loads: tuple[str, ...]
    stores: tuple[str, ...]
    normed: tuple[str, ...]
    coarse: bool = False

    @property
    def arrays(self) -> tuple[str, ...]:
        """Every flat array that the pass touches, each once."""
        return tuple(dict.fromkeys((*self.loads, *self.stores, *self.normed)))

    def source(self, name: str) -> str:
        """The array that holds a quantity when the pass begins: until one has stored it, the update is the gradient."""
        return "grad" if name == "update" and "update" not in self.loads else name

    @property
    def moved(self) -> int:
        """How many values per parameter are read or written; a norm of an array in the loop reads it in cache."""
        seen = {*self.loads, *self.stores}
        return len(self.loads) + len(self.stores) + len({a for a in self.normed if a not in seen})


class Plan:
    """How a chain runs: its passes, the scalars and norms that they read, the state that they keep.

    Args:
        elements: the chain.
        purpose: what it is there to change: some rule must return one of these.

    Attributes:
        elements, rules, norms: the chain, and its parts of each kind.
        outputs: what the rules return, each name once.
        passes: the sweeps over the elements.
        state: the names of the state slots.
        inits: the initial values of slots that do not start at 0.
        carry: the numbers that rules carry from step to step.
        functions: the functions that compute scalars from the step, with their options' and carried numbers' names.
        hypers: the scalars that kernels read, in order of first use.
        columns: the place of each of them in a row of scalars.
        scopes: the scopes of the norms.
        mixed: whether there are norms of units and wider ones.
        arrays: every flat array that some pass touches.

    Raises:
        ValueError: if a rule reads a norm that is not taken before it, or two rules keep state under one name,
            or no rule returns what the chain is there to change.
    """

    def __init__(self, elements: Sequence[Element], purpose: Sequence[str] = ("param",)) -> None:
        self.elements, self.purpose = tuple(elements), tuple(purpose)
        self.rules = tuple(e for e in elements if isinstance(e, Rule))
        self.norms = tuple(e for e in elements if isinstance(e, Norm))
        _check(self.elements)
        self.outputs = tuple(dict.fromkeys(name for rule in self.rules for name in rule.outputs))
        if not {*self.outputs} & {*self.purpose}:
            remedy = "; end it with apply_update" if self.purpose == ("param",) else ""
            raise ValueError(f"chain: no rule returns {' or '.join(self.purpose)}, so nothing would change{remedy}")
        self.state = tuple(name for rule in self.rules for name in rule.state)
        self.inits = {name: init for rule in self.rules for name, init in rule.init.items()}
        self.carry = tuple(name for rule in self.rules for name in rule.carry)
        self.scopes = tuple(dict.fromkeys(norm.scope for norm in self.norms))
        self.mixed = "unit" in self.scopes and len(self.scopes) > 1
        self.passes = tuple(_divided(self.elements, self.mixed))
        used = [name for p in self.passes for name in p.lowered.hypers]
        used += [norm.where for norm in self.norms if norm.where is not None]
        self.hypers = tuple(dict.fromkeys(used))
        self.columns = {name: column for column, name in enumerate(self.hypers)}
        # Each once, with the options that it takes and the names of the numbers that it carries.
        computing = {rule.scalars: rule for rule in self.rules if rule.scalars is not None}
        self.functions = [(function, rule.scalar_options, rule.carry) for function, rule in computing.items()]
        self.arrays = tuple(dict.fromkeys(name for p in self.passes for name in p.arrays))

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.elements, self.purpose)

    def bytes_per_parameter(self, itemsize: int = 4) -> int:
        """The bytes that one step moves between memory and processor, per parameter."""
        return itemsize * sum(p.moved for p in self.passes)

    def __str__(self) -> str:
        lines = []
        for number, p in enumerate(self.passes, 1):
            lines.append(f"pass {number}: {4 * p.moved} bytes per float32 parameter")
            if p.rules:
                lines.append(f"  rules   {', '.join(rule.name for rule in p.rules)}")
                lines.append(f"  reads   {', '.join(p.loads)}")
                lines.append(f"  writes  {', '.join(p.stores)}")
            for norm, array in zip(p.norms, p.normed, strict=True):
                lines.append(f"  norm    {norm.name}: order {norm.order:g} of {array} per {norm.scope}")
        lines.append(f"in all: {self.bytes_per_parameter()} bytes per float32 parameter")
        return "\n".join(lines)


def _check(elements: Sequence[Element]) -> None:
    known: set[str] = set()
    owners: dict[str, str] = {}
    changing: str | None = None  # the first rule that changes state or a parameter
    for element in elements:
        if not isinstance(element, Rule | Norm):
            raise TypeError(f"chain: {element!r} is neither a rule nor a norm; @optim.rule makes a rule of a function")
        if isinstance(element, Norm):
            if element.nonfinite != "propagate" and changing is not None:
                raise ValueError(
                    f"chain: the norm {element.name!r} may stop the step, so it must come before {changing!r}, which "
                    "changes state or parameters"
                )
            if element.name in known:
                raise ValueError(f"chain: two norms are named {element.name!r}; give one another name")
            known.add(element.name)
            continue
        for name in element.norms:
            if name not in known:
                raise ValueError(
                    f"chain: rule {element.name!r} reads {name!r}, but no earlier norm has that name; "
                    f"add norm('{name.removesuffix('_norm')}', scope=...)"
                )
        if element.state or "param" in element.outputs:
            changing = changing or element.name
        for name in element.state:
            if name in owners:
                raise ValueError(f"chain: the rules {owners[name]!r} and {element.name!r} both keep {name!r}")
            owners[name] = element.name


def _divided(elements: Sequence[Element], mixed: bool) -> list[Pass]:
    """Rules up to the next norms make a pass: a later rule may change the array of a norm, or read the norm."""
    groups: list[tuple[list[Rule], list[Norm]]] = [([], [])]
    for element in elements:
        rules, norms = groups[-1]
        if isinstance(element, Norm):
            norms.append(element)
        elif norms:
            groups.append(([element], []))
        else:
            rules.append(element)
    if mixed:
        groups = [part for rules, norms in groups for part in _by_grain(rules, norms)]
    passes = []
    stored = False  # whether the running update is in the scratch array
    for number, (rules, norms) in enumerate(groups):
        lowered = lower(rules)
        changed = "update" in lowered.writes
        kept = changed and (any(n.of == "update" for n in norms) or _wanted_later(groups[number + 1 :]))
        loads = tuple(_array(name, stored) for name in lowered.reads)
        stores = tuple(name for name in lowered.writes if name != "update" or kept)
        stored = stored or kept
        normed = tuple(_array(norm.of, stored) for norm in norms)
        coarse = mixed and not rules and all(norm.scope != "unit" for norm in norms)
        passes.append(Pass(tuple(rules), tuple(norms), lowered, tuple(dict.fromkeys(loads)), stores, normed, coarse))
    return passes


def _by_grain(rules: list[Rule], norms: list[Norm]) -> list[tuple[list[Rule], list[Norm]]]:
    """The rules with the norms of units, and then the wider norms."""
    units = [norm for norm in norms if norm.scope == "unit"]
    wider = [norm for norm in norms if norm.scope != "unit"]
    return [part for part in ((rules, units), ([], wider)) if part[0] or part[1]]


def _wanted_later(groups: Sequence[tuple[list[Rule], list[Norm]]]) -> bool:
    return any("update" in rule.inputs for rules, _ in groups for rule in rules) or any(
        norm.of == "update" for _, norms in groups for norm in norms
    )


def _array(name: str, stored: bool) -> str:
    """The flat array of a quantity: the running update is the gradient until a pass has stored it."""
    return "grad" if name == "update" and not stored else name
