"""Run PyTorch on two test functions until the value is small, and store how many steps that took.

    python tests/golden/steps_to_tolerance.py     writes steps_to_tolerance.json next to this file

Needs torch 2.13. `steps` also serves the live comparison in tests/optim/test_steps_to_tolerance.py, with PyTorch or
minigrad as the library. Everything is float64.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

STORED = Path(__file__).resolve().parent / "steps_to_tolerance.json"
MOST = 10_000


def parabola(x, y):
    """Ten times as steep along y."""
    return x * x + 10.0 * y * y


def rosenbrock(x, y):
    """Rosenbrock, "An automatic method for finding the greatest or least value of a function", 1960."""
    slope, valley = 1.0 - x, y - x * x
    return slope * slope + 100.0 * valley * valley


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"parabola": parabola, "Rosenbrock": rosenbrock}
STARTS = {"parabola": (3.0, -2.0), "Rosenbrock": (-1.2, 1.0)}
TOLERANCES = {"parabola": 1e-6, "Rosenbrock": 1e-3}
# Optimizer, options by function. With RMSprop's own epsilon, and with larger rates of NAdam, the last steps jump about
# the valley of Rosenbrock's function, and a rounding in the last place comes to change their number by two or three.
CASES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "SGD": ("SGD", {"parabola": {"lr": 0.04}, "Rosenbrock": {"lr": 1.5e-3}}),
    "SGD, momentum": (
        "SGD",
        {"parabola": {"lr": 0.01, "momentum": 0.9}, "Rosenbrock": {"lr": 5e-4, "momentum": 0.9}},
    ),
    "SGD, Nesterov": (
        "SGD",
        {
            "parabola": {"lr": 0.01, "momentum": 0.9, "nesterov": True},
            "Rosenbrock": {"lr": 5e-4, "momentum": 0.9, "nesterov": True},
        },
    ),
    "Adagrad": ("Adagrad", {"parabola": {"lr": 1.0}, "Rosenbrock": {"lr": 0.5}}),
    "RMSprop": ("RMSprop", {"parabola": {"lr": 5e-3}, "Rosenbrock": {"lr": 1.5e-3, "eps": 1.0}}),
    "RMSprop, momentum": (
        "RMSprop",
        {"parabola": {"lr": 1e-3, "momentum": 0.9}, "Rosenbrock": {"lr": 1e-4, "momentum": 0.9}},
    ),
    "Adam": ("Adam", {"parabola": {"lr": 0.1}, "Rosenbrock": {"lr": 0.02}}),
    "RAdam": ("RAdam", {"parabola": {"lr": 0.05}, "Rosenbrock": {"lr": 2e-3}}),
    "NAdam": ("NAdam", {"parabola": {"lr": 0.1}, "Rosenbrock": {"lr": 0.01}}),
}


def steps(make: Callable[[float], Any], optimizers: Any, case: str, function: str) -> tuple[int, list[float]]:
    """How many steps a library's optimizer takes until the value is at most the tolerance, and where it is then.

    Args:
        make: makes a parameter of one element.
        optimizers: the module ``torch.optim`` or ``minigrad.optim``.
        case: which of `CASES`.
        function: which of `FUNCTIONS`.
    """
    name, options = CASES[case]
    parameters = [make(value) for value in STARTS[function]]
    optimizer = getattr(optimizers, name)(parameters, **options[function])
    for step in range(MOST):
        optimizer.zero_grad()
        value = FUNCTIONS[function](*parameters).sum()
        if value.item() <= TOLERANCES[function]:
            return step, [parameter.item() for parameter in parameters]
        value.backward()
        optimizer.step()
    raise RuntimeError(f"{case} on {function}: {value.item():.3g} after {MOST} steps")


def in_torch(case: str, function: str) -> tuple[int, list[float]]:
    """`steps` with PyTorch."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam keeps its product of momenta in the default dtype
    try:
        return steps(lambda value: torch.nn.Parameter(torch.tensor([value])), torch.optim, case, function)
    finally:
        torch.set_default_dtype(before)


def main() -> None:
    """Write the store."""
    stored: dict[str, Any] = {}
    for case in CASES:
        for function in FUNCTIONS:
            count, point = in_torch(case, function)
            stored.setdefault(case, {})[function] = {"steps": count, "point": point}
            print(case, function, count, point, flush=True)
    STORED.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
