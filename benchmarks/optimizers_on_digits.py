"""Every optimizer at its tuned learning rate on the digits: steps and seconds to 97 % of the held-out digits.

Protocol: the problem is the one of ``minigrad compare``: the digits with a fifth held out, the MLP 64-64-10, batches of
32, cross-entropy. A seed decides the initial parameters and the order of the batches, the same for every optimizer.
Only the learning rate is tuned. Every other option is the default of ``minigrad train`` (momentum 0.9 for SGD and for
the SGD inside Lookahead, otherwise the defaults of the class), with a constant rate and no weight decay beyond the
default of the class.

A run ends at the target or after its budget of 60 epochs of 45 steps. Accuracy on the 360 held-out digits is measured
after every 15 steps, and the first time it is 97 % or more counts. That is close to the best that this model ever
reaches, so runs cross it by luck as well as by speed; therefore the steps to 96 % are reported too, and how many seeds
reached 97 % at all.

Tuning: the rates are ``minigrad train``'s defaults times 1/8, 1/4, 1/2, 1, 2, 4 and 8, with three seeds (100 to 102)
each. While the best rate is the smallest or the largest, the grid grows by a factor of 2 in that direction, at most
four times. The best rate has the lowest mean number of steps to 97 %, where a run that does not reach it counts as
twice the budget; ties go to the lowest number of steps to 96 %, then to the smallest rate.

Comparison: five other seeds (0 to 4) at that rate. Seconds include forward, loss, backward and step, but not
loading and evaluation, with matrix products on one thread. Optimizers alternate, seed by seed. Rates are tuned for
speed on the same held-out digits on which the target is tested, so the table shows how fast the target can be reached,
not how well an optimizer generalizes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import training
from minigrad.cli.options import complete
from minigrad.recipes import catalog
from minigrad.recipes.recipe import Problem, make_run
from minigrad.recipes.recipe import problem as load_problem

from . import peers
from .effort import Effort
from .report import Table
from .timing import Measure

TITLE = "Optimizers on the digits"
TARGETS = (0.96, 0.97)
FACTORS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
EVERY = 15


@dataclass(frozen=True)
class Protocol:
    """How many rates, seeds and epochs are tried."""

    optimizers: Sequence[str]
    factors: Sequence[float]
    tuning_seeds: Sequence[int]
    seeds: Sequence[int]
    epochs: int
    growth: int


@dataclass(frozen=True)
class Outcome:
    """The result of one run: step and seconds of each target that it reached, and its best accuracy."""

    reached: dict[float, tuple[int, float]]
    accuracy: float


def measure(effort: Effort) -> list[Table]:
    """Return a row for each optimizer, the fewest steps first, and every run."""
    everyone = tuple(catalog.OPTIMIZERS)
    protocol = effort.of(
        Protocol(everyone, FACTORS, (100, 101, 102), (0, 1, 2, 3, 4), 60, 4),
        Protocol(("SGD", "Adam", "Lookahead"), (1.0, 2.0, 4.0), (100,), (0, 1), 15, 0),
        Protocol(("SGD", "Adam"), (1.0,), (100,), (0,), 1, 0),
    )
    peers.blas_threads(1)
    problem = load_problem(complete({}))
    rates, grid = {}, []
    for name in protocol.optimizers:
        rates[name], tried = tune(name, protocol, problem)
        grid += tried
    outcomes: dict[str, list[Outcome]] = {name: [] for name in rates}
    for seed in protocol.seeds:
        for name, rate in rates.items():
            outcomes[name].append(race(name, rate, seed, protocol.epochs, problem))
    rows = sorted((_row(name, rates[name], found) for name, found in outcomes.items()), key=_order)
    runs = [
        {"optimizer": name, "seed": seed, **_columns([each]), "best accuracy": each.accuracy}
        for name, found in outcomes.items()
        for seed, each in zip(protocol.seeds, found, strict=True)
    ]
    compared = " ".join(f"{name}:lr={rate:g}" for name, rate in rates.items())
    notes = (
        f"Rates tuned over {len(protocol.factors)} or more values with {len(protocol.tuning_seeds)} seeds; then "
        f"{len(protocol.seeds)} other seeds, at most {protocol.epochs} epochs. Medians and quartiles over the seeds "
        "that reached the target; steps are counted in fifteens. The whole protocol is in the docstring of "
        f"`benchmarks/optimizers_on_digits.py`. The same by the command: `minigrad compare {compared}`."
    )
    return [
        Table("optimizers", "To 97 % of the digits held out", rows, notes),
        Table("tuning", "Learning rates tried", grid, detail=True),
        Table("runs", "Every run", runs, detail=True),
    ]


def tune(name: str, protocol: Protocol, problem: Problem) -> tuple[float, list[dict[str, Any]]]:
    """Return the best learning rate, and what was tried."""
    preset = catalog.preset(name, "digits")["lr"]
    unreached = 2 * protocol.epochs * -(-len(problem.train) // complete({})["batch_size"])
    scores: dict[float, tuple[float, ...]] = {}
    tried = []

    def attempt(factor: float) -> None:
        rate = float(f"{preset * factor:.3g}")
        found = [race(name, rate, seed, protocol.epochs, problem) for seed in protocol.tuning_seeds]
        means = [sum(each.reached.get(t, (unreached,))[0] for each in found) / len(found) for t in TARGETS]
        scores[rate] = (*reversed(means), rate)
        tried.append({"optimizer": name, "rate": rate, "mean steps to 97%": means[1], "mean steps to 96%": means[0]})

    for factor in protocol.factors:
        attempt(factor)
    low, high = protocol.factors[0], protocol.factors[-1]
    for _ in range(protocol.growth):
        best = min(scores, key=scores.__getitem__)
        if best == min(scores):
            attempt(low := low / 2)
        elif best == max(scores):
            attempt(high := high * 2)
        else:
            break
    return min(scores, key=scores.__getitem__), tried


def race(name: str, rate: float, seed: int, epochs: int, problem: Problem) -> Outcome:
    """Train in an explicit loop until the target is reached or the budget is used up."""
    run = make_run(complete({"optimizer": name, "lr": rate, "seed": seed, "epochs": epochs}), problem)
    model, optimizer, loss = run.model, run.optimizer, run.loss
    optimizer.prepare()
    clock, spent, step, best = time.perf_counter, 0.0, 0, 0.0
    reached: dict[float, tuple[int, float]] = {}
    with np.errstate(all="ignore"):  # rates that diverge are part of the grid
        for _ in range(epochs):
            for x, y in run.loader:
                start = clock()
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
                spent += clock() - start
                step += 1
                if step % EVERY == 0:
                    found = training.evaluate(model, problem.held_out, problem.loss, problem.metrics)["accuracy"]
                    model.train()
                    best = max(best, found)
                    for target in TARGETS:
                        if found >= target:
                            reached.setdefault(target, (step, spent))
                    if TARGETS[-1] in reached:
                        return Outcome(reached, best)
    return Outcome(reached, best)


def _columns(found: Sequence[Outcome]) -> dict[str, Any]:
    """Return steps and seconds to each target, over the runs that reached it."""
    columns: dict[str, Any] = {}
    for target in reversed(TARGETS):
        there = [each.reached[target] for each in found if target in each.reached]
        for number, unit in enumerate(("steps", "seconds")):
            columns[f"{unit} to {target:.0%}"] = Measure.of([pair[number] for pair in there]) if there else None
    return columns


def _row(name: str, rate: float, found: Sequence[Outcome]) -> dict[str, Any]:
    reached = sum(TARGETS[-1] in each.reached for each in found)
    return {"optimizer": name, "tuned rate": rate, "reached 97%": f"{reached} of {len(found)}", **_columns(found)}


def _order(row: dict[str, Any]) -> tuple[bool, float]:
    """Sort by the fewest steps; last come optimizers that reached the target with less than half of the seeds."""
    reached, seeds = map(int, row["reached 97%"].split(" of "))
    steps = row["steps to 97%"]
    return 2 * reached < seeds, 0.0 if steps is None else steps.median
