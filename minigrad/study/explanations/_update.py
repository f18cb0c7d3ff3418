"""Explain one weight's update: run the rules again as plain Python, from the record of a step."""

from __future__ import annotations

import ast
import contextlib
import copy
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from ...autograd.hooks import Hooks
from ...checks import unknown
from ...optim import Optimizer
from ...optim._watch import Record
from ...optim.explanation import PARTS, Check, Explanation, Term, ulps
from ...rules import Norm, Rule
from ...rules.elements import Assignment
from .._shares import Shares, shares_of
from ._notation import expression, meaning

GRADIENT, EARLIER, DECAY, SLOW, OTHER, ROUNDING = PARTS


def explain(optimizer: Optimizer, name: str, index: int | Sequence[int] = (), *, coming: bool = False) -> Explanation:
    """The last watched update of one weight, or the coming one: the method `minigrad.optim.Optimizer.explain`."""
    place = place_of(optimizer, name, index)
    return _coming(optimizer, name, place) if coming else _last(optimizer, name, place)


def _last(optimizer: Optimizer, name: str, place: tuple[int, ...]) -> Explanation:
    records = [w.last() for w in optimizer._watches if w.covers(name)]
    found = [record for record in records if record is not None and name in record.before]
    if not found:
        raise RuntimeError(_not_watched(optimizer, name, place, armed=bool(records)))
    record = max(found, key=lambda each: each.step)
    return _Update(optimizer, record, name, place).explanation()


def _coming(optimizer: Optimizer, name: str, place: tuple[int, ...]) -> Explanation:
    """The update that the next step would make; the step is taken by a copy."""
    # Without hooks, which are meant for the steps of the optimizer itself.
    hooked = (optimizer._pre_hooks, optimizer._update_hooks, optimizer._post_hooks)
    bare: dict[int, Any] = {id(hooks): Hooks() for hooks in hooked}
    twin = copy.deepcopy(optimizer, bare)
    twin._schedulers = optimizer._schedulers
    # If a clip raises, the record has the outcome.
    with twin.watch(name) as watch, contextlib.suppress(FloatingPointError):
        twin.step()
    record = watch.last()
    assert record is not None
    return _Update(twin, record, name, place, coming=True).explanation()


def place_of(optimizer: Optimizer, name: str, index: int | Sequence[int]) -> tuple[int, ...]:
    """The index of a weight as numbers from 0, checked."""
    entries = optimizer.store.entries
    if not isinstance(name, str):
        raise TypeError(f"explain: needs the name of a parameter, such as {next(iter(entries))!r}, not its values")
    if name not in entries:
        raise ValueError(f"explain: {unknown('parameter', name, entries)}")
    shape = entries[name].parameter.shape
    many = isinstance(index, tuple | list) or (isinstance(index, np.ndarray) and index.ndim > 0)
    given: tuple[Any, ...] = tuple(cast(Any, index)) if many else (index,)
    try:
        if any(isinstance(number, bool | np.bool_) for number in given):
            raise TypeError
        numbers = tuple(map(operator.index, given))
    except TypeError:
        raise TypeError(f"explain: an index consists of whole numbers, not {index!r}") from None
    if len(numbers) != len(shape):
        needed = f"{len(shape)} numbers" if len(shape) != 1 else "one number"
        raise IndexError(f"explain: {name!r} has shape {shape}, so its index has {needed}, not {len(numbers)}")
    for axis, (number, size) in enumerate(zip(numbers, shape, strict=True)):
        if not -size <= number < size:
            raise IndexError(f"explain: {number} is out of range for axis {axis} of {name!r}, whose shape is {shape}")
    return tuple(number % size for number, size in zip(numbers, shape, strict=True))


def _not_watched(optimizer: Optimizer, name: str, place: tuple[int, ...], armed: bool) -> str:
    call = f"optimizer.explain({name!r}, {place if len(place) != 1 else place[0]})".replace(", ())", ")")
    ahead = f"{call[:-1]}, coming=True) explains what the next step would do"
    if armed:
        return f"explain: no step has been taken since {name!r} was watched; take one with optimizer.step(). {ahead}"
    return (
        f"explain: the last step of {type(optimizer).__name__} has overwritten the values that it started from. Call "
        f"optimizer.watch() before the step, then optimizer.step(), then {call}. {ahead}"
    )


class _Update:
    """One weight of a record, and its values while the chain runs."""

    def __init__(
        self, optimizer: Optimizer, record: Record, name: str, place: tuple[int, ...], coming: bool = False
    ) -> None:
        self.optimizer, self.record, self.name, self.place, self.coming = optimizer, record, name, place, coming
        self.entry = record.entry(name)
        self.dtype = np.dtype(record.before[name]["param"].dtype)
        self.group = record.groups[name]
        self.options = {**record.options[self.group], **record.overrides.get(name, {})}
        self.terms: list[Term] = []
        self.values: dict[str, Any] = {slot: self._number(a) for slot, a in record.before[name].items()}
        self.norms: dict[str, float] = {}
        self.shares: dict[str, Shares] = {slot: {EARLIER: float(v)} for slot, v in self.values.items()}
        self.shares["param"] = {DECAY: float(self.values["param"])}

    def _number(self, array: Any) -> Any:
        return self.dtype.type(array[self.place].item())

    def explanation(self) -> Explanation:
        record, name = self.record, self.name
        self._add("value", "param", self.values["param"], note="the weight before the step")
        outcome, parts, checks = record.outcome, {}, []
        if "grad" not in self.values:
            outcome = "no gradient" if outcome != "stopped" else outcome
        else:
            self._add("value", "grad", self.values["grad"], note="from backward")
            self.values["update"] = self.values["grad"]
            self.shares["grad"] = self.shares["update"] = {GRADIENT: float(self.values["grad"])}
            for element in record.plan.elements:
                if isinstance(element, Norm):
                    if record.norms:
                        self._norm(element)
                elif outcome == "updated":
                    self._rule(element)
        if outcome == "updated":
            own, shares = float(self.values["param"]), self.shares["param"]
            due = self._later()
            checks = self._checks(record.left if due else record.after)
            parts = self._parts(own, shares, checks[0].stored, any("param" in rule.outputs for rule in due))
        return Explanation(
            optimizer=self.optimizer.title,
            parameter=name,
            index=self.place,
            dtype=self.dtype.name,
            step=record.ages[name] + (outcome == "updated"),
            group=self.group,
            outcome=outcome,
            terms=tuple(self.terms),
            checks=tuple(checks),
            parts=parts,
            notes=tuple(self._notes(outcome)),
        )

    def _notes(self, outcome: str) -> list[str]:
        record, since = self.record, self.optimizer.steps - self.record.step
        notes = ["the next step, with the current gradients"] if self.coming else []
        if since > 0:
            taken = "1 more step has" if since == 1 else f"{since} more steps have"
            notes.append(f"{taken} been taken since, unwatched")
        if outcome == "no gradient":
            notes.append("the parameter had no gradient, so it was skipped and its own count of steps did not change")
        if outcome in ("skipped", "stopped"):
            bad = next(
                (n for n in record.plan.norms if not np.isfinite(record.norms.get(n.name, np.ones(1))).all()), None
            )
            why = f": {bad.name} is not finite" if bad is not None else " by an error"
            did = "skipped" if outcome == "skipped" else "stopped"
            notes.append(f"the step was {did}{why}; no parameter or state was changed")
        for each in record.later:
            done = each.counter % each.k
            if outcome == "updated" and done:
                notes.append(f"{each.name}: update {done} of {each.k}; its rules follow in {each.k - done}")
        return notes

    def _add(self, kind: str, name: str, value: Any, **more: Any) -> None:
        self.terms.append(Term(kind, name, float(value), exact=isinstance(value, np.floating), **more))

    # --- norms -------------------------------------------------------------------------------------------------------

    def _norm(self, norm: Norm) -> None:
        unit = self.place[0] if norm.scope == "unit" and self.entry.units > 1 else 0
        number = self.entry.ids[norm.scope] + unit
        value = float(self.record.norms[norm.name][number])
        self.norms[norm.name] = value
        where = "everything" if norm.scope == "global" else (
            f"{norm.scope} {self.record.store.range_names(norm.scope)[number]}"
        )  # fmt: skip
        of = {"param": "the parameter", "grad": "the gradient", "update": "the update"}[norm.of]
        only = f", where {norm.where} is not 0" if norm.where else ""
        self._add("norm", norm.name, value, note=f"{norm.order:g}-norm of {of} over {where}{only}")

    # --- rules -------------------------------------------------------------------------------------------------------

    def _rule(self, rule: Rule) -> None:
        known = self.options | self._scalars(rule)
        for name in rule.options:
            if name not in self._computed(rule):
                self._add("option", name, known[name], rule=rule.name, note=_joined(meaning(name), self._origin(name)))
        for name, value in self._scalars(rule).items():
            note = _joined(meaning(name), f"at t = {self.record.ages[self.name] + 1}")
            self._add("scalar", name, value, rule=rule.name, note=note)
        given = {**self.values, **self.norms, **{name: known[name] for name in rule.hypers}}
        self._run(rule, given, clips=any(rule is clip.rule for clip in self.record.clips))

    def _computed(self, rule: Rule) -> set[str]:
        return set(self._scalars(rule))

    def _scalars(self, rule: Rule) -> dict[str, float]:
        """Every scalar that the rule computes from the step and the options."""
        if rule.scalars is None:
            return {}
        carried = self.record.carried.get(self.name, {})
        given = [self.options[name] for name in rule.scalar_options]
        known = {name: carried[name] for name in rule.carry if name in carried}
        found = dict(rule.scalars(self.record.ages[self.name] + 1, *given, **known))
        used = self.record.scalars[self.name]
        return {name: used.get(name, value) for name, value in found.items()}

    def _origin(self, name: str) -> str:
        if name in self.record.overrides.get(self.name, {}):
            return "set for this parameter"
        return self.record.origins[self.group].get(name, "constant")

    def _run(self, rule: Rule, given: Mapping[str, Any], clips: bool = False) -> None:
        """Run a rule, note each assignment, and keep its results."""
        reading = rule.reading({name: given[name] for name in (*rule.inputs, *rule.hypers)})
        shares = {name: self.shares.get(name, {}) for name in rule.inputs}
        for assignment in rule.body:
            with np.errstate(all="ignore"):
                own, asked = shares_of(assignment.value, reading, shares), _asked(assignment, reading.value)
            value = reading.assign(assignment.target, assignment.value)
            shares[assignment.target] = own
            carried = assignment.target in rule.outputs and assignment.target in given
            before = float(given[assignment.target]) if carried else None
            note = _joined(asked, meaning(assignment.target))
            if clips and assignment.target == "update":
                note = _joined(note, "unchanged" if float(value) == before else "clipped")
            self._add(
                "assignment",
                assignment.target,
                reading.rounded(value) if carried else value,
                before=before,
                rule=rule.name,
                source=assignment.text,
                line=assignment.line,
                note=note,
            )
        for name, result in zip(rule.outputs, reading.results(rule.outputs), strict=True):
            self.values[name], self.shares[name] = result, shares[name]

    # --- after the chain ---------------------------------------------------------------------------------------------

    def _later(self) -> list[Rule]:
        """Run the chains with a period that are due, and return their rules."""
        due = [each for each in self.record.later if each.counter % each.k == 0]
        for each in due:
            for rule in each.rules:
                for name in rule.hypers:
                    self._add("option", name, each.options[name], rule=rule.name, note=f"{name} of {each.name}")
                self._run(rule, {**self.values, **each.options})
        return [rule for each in due for rule in each.rules]

    def _checks(self, stored: Mapping[str, Mapping[str, Any]]) -> list[Check]:
        checks, arrays = [], stored[self.name]
        for slot in dict.fromkeys(("param", *self.record.plan.state, *sorted(arrays))):
            plain, kept = float(self.values[slot]), float(self._number(arrays[slot]))
            checks.append(Check(slot, plain, kept, ulps(plain, kept, self.dtype)))
        return checks

    def _parts(self, own: float, shares: Shares, stored: float, later: bool) -> dict[str, float]:
        """The change divided by its sources; the last part makes the sum exact."""
        before = float(self.record.before[self.name]["param"][self.place])
        parts = {GRADIENT: float(shares.get(GRADIENT, 0.0))}
        if EARLIER in shares:
            parts[EARLIER] = float(shares[EARLIER])
        parts[DECAY] = float(shares.get(DECAY, 0.0)) - before
        if later:
            parts[SLOW] = stored - own
        rest = math.fsum([stored, -before, *(-part for part in parts.values())])
        size = sum(map(abs, (before, stored, *parts.values())))
        parts[OTHER if abs(rest) > 64 * np.finfo(self.dtype).eps * size else ROUNDING] = rest
        return parts


def _asked(assignment: Assignment, value: Callable[[ast.expr], Any]) -> str:
    """The conditions of a statement that decided its value, and whether they held."""
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if not isinstance(node, ast.IfExp):
            for part in ast.iter_child_nodes(node):
                visit(part)
            return
        held = bool(value(node.test))
        visit(node.test)
        found.append(f"{expression(node.test)}: {'yes' if held else 'no'}")
        visit(node.body if held else node.orelse)

    visit(assignment.value)
    return "; ".join(found)


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
