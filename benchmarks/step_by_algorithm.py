"""Every optimizer, compared with the peers that have it and with the cost of its bytes at Adam's bandwidth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import peers
from .effort import Effort
from .models import LOOKAHEAD_STEPS, optimizer, random_arrays, steps
from .report import Table
from .timing import Contender, interleaved, ratio

TITLE = "Optimizer step by algorithm"
SLOW_BYTES = 16  # of a sync: parameter and slow weight, read and written


@dataclass(frozen=True)
class Algorithm:
    """One algorithm as each library names it; ``None`` if a library does not have it."""

    ours: str
    options: dict[str, Any] = field(default_factory=dict)
    torch: str | None = None
    optax: tuple[str, dict[str, Any]] | None = None


# The options switch on the states that the bytes are counted for; their values do not affect the time.
ALGORITHMS = {
    "SGD": Algorithm("SGD", {"lr": 1e-3}, "SGD", ("sgd", {})),
    "SGD, momentum": Algorithm("SGD", {"lr": 1e-3, "momentum": 0.9}, "SGD", ("sgd", {"momentum": 0.9})),
    "Adagrad": Algorithm("Adagrad", {"lr": 1e-3}, "Adagrad", ("adagrad", {})),
    "Adadelta": Algorithm("Adadelta", {}, "Adadelta", ("adadelta", {})),
    "RMSprop": Algorithm("RMSprop", {"lr": 1e-3}, "RMSprop", ("rmsprop", {})),
    "RMSprop, centered, momentum": Algorithm(
        "RMSprop",
        {"lr": 1e-3, "centered": True, "momentum": 0.9},
        "RMSprop",
        ("rmsprop", {"centered": True, "momentum": 0.9}),
    ),
    "Adam": Algorithm("Adam", {}, "Adam", ("adam", {})),
    "AdamW": Algorithm("AdamW", {}, "AdamW", ("adamw", {})),
    "Adamax": Algorithm("Adamax", {}, "Adamax", ("adamax", {})),
    "NAdam": Algorithm("NAdam", {}, "NAdam", ("nadam", {})),
    "RAdam": Algorithm("RAdam", {}, "RAdam", ("radam", {})),
    "AdaBelief": Algorithm("AdaBelief", {}, None, ("adabelief", {})),
    "Lion": Algorithm("Lion", {}, None, ("lion", {"weight_decay": 0.0})),
    "LAMB": Algorithm("LAMB", {"weight_decay": 0.01}, None, ("lamb", {"weight_decay": 0.01})),
    "LARS": Algorithm("LARS", {"lr": 1e-3, "weight_decay": 0.01}, None, ("lars", {"weight_decay": 0.01})),
    "Lookahead around Adam": Algorithm("Lookahead", {}, None, ("adam", {})),
}


def measure(effort: Effort) -> list[Table]:
    """Return a table for each of two sizes, one in cache and one in memory, and the times of every setting."""
    tables = []
    for size in effort.of((100_000, 30_000_000), (100_000,), (60,)):
        rows, details = [], []
        for name, algorithm in ALGORITHMS.items():
            row, detail = one_algorithm(name, algorithm, size, effort.seconds / 2)
            rows.append(row)
            details.append(detail)
        notes = (
            "Against its bytes: the time divided by the time that its plan's bytes would take at Adam's bandwidth, "
            "measured alternately with it. In cache, the root and the division count too, which Adagrad and RMSprop "
            "share with Adam but SGD lacks; in memory, values that a pass writes without reading, such as the update "
            "that LAMB and LARS keep for their second pass, are still read first by the CPU, and are not counted. "
            f"Lookahead: the mean of the {LOOKAHEAD_STEPS} steps from one sync to the next."
        )
        tables.append(Table(f"at {size}", f"Whole steps at {size:,} parameters", rows, notes))
        tables.append(Table(f"settings at {size}", f"Every setting at {size:,} parameters, µs", details, detail=True))
    return tables


def one_algorithm(name: str, algorithm: Algorithm, size: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare one algorithm. Return the comparison and the times of all contenders."""
    arrays = random_arrays(size)
    made, adam = optimizer(algorithm.ours, arrays, algorithm.options), optimizer("Adam", arrays, {})
    contenders = {"minigrad": steps(made), "Adam": steps(adam)}
    if algorithm.torch is not None and peers.has("torch"):
        contenders |= peers.torch_steps(algorithm.torch, arrays, algorithm.options)
    if algorithm.optax is not None and peers.has("jax"):
        contenders |= _optax(algorithm, arrays)
    times = interleaved(contenders, seconds)
    adams, moved = adam.plan().bytes_per_parameter(), made.plan().bytes_per_parameter()
    if algorithm.ours == "Lookahead":
        moved = moved + SLOW_BYTES / LOOKAHEAD_STEPS
    row = {
        "optimizer": name,
        "bytes per parameter": moved,
        "minigrad (µs)": times["minigrad"].measure(),
        "against its bytes": ratio(times["minigrad"], times["Adam"], adams / moved),
        **peers.versus(times, "PyTorch"),
        **peers.versus(times, "optax"),
    }
    return row, {"optimizer": name} | {setting: each.measure() for setting, each in times.items()}


def _optax(algorithm: Algorithm, arrays: peers.Arrays) -> dict[str, Contender]:
    optax = peers.jax_modules()[1]
    assert algorithm.optax is not None
    name, options = algorithm.optax
    transform = getattr(optax, name)(learning_rate=1e-3, **options)
    if algorithm.ours in ("LAMB", "LARS"):  # with norms of their tensors
        return {"optax": peers.optax_step(transform, arrays)}
    if algorithm.ours != "Lookahead":
        return peers.optax_steps(transform, arrays)
    transform = optax.lookahead(transform, LOOKAHEAD_STEPS, 0.5)
    return {"optax": peers.optax_step(transform, arrays, lookahead=True, units=LOOKAHEAD_STEPS)}
