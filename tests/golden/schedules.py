"""Run PyTorch's schedulers on schedule_cases.py and schedule_patterns.py and store the options of every step.

    python tests/golden/schedules.py     writes schedules.npz and schedule_patterns.npz next to this file

Needs torch 2.13. `run(case)` also serves the live comparison in tests/schedulers/test_oracles.py.

These are not used as oracles, because they interpret the schedule differently from minigrad:
- CosineAnnealingWarmRestarts resumed with last_epoch, or given an epoch that is a restart: its logarithm misses some;
- CosineAnnealingLR after T_max: minigrad stays at eta_min, and repeats here by its option;
- a chain with a scheduler that overwrites what the others have set (Lambda, restarts, cycles), or with eta_min.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
STORED, PATTERNS = HERE / "schedules.npz", HERE / "schedule_patterns.npz"
HELPERS = str(HERE.parent / "schedulers")
if HELPERS not in sys.path:  # when run as a script
    sys.path.insert(0, HELPERS)

import schedule_patterns  # noqa: E402
from schedule_cases import CASES, Case, trajectory  # noqa: E402


def run(case: Case) -> np.ndarray:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trajectory(case, torch.optim, torch.optim.lr_scheduler, lambda: torch.nn.Parameter(torch.ones(1)), False)


def run_pattern(case: tuple[str, str, str]) -> np.ndarray:
    import torch

    parameter = lambda: torch.nn.Parameter(torch.ones(1))
    return schedule_patterns.run_pattern(case, torch.optim, torch.optim.lr_scheduler, parameter)


if __name__ == "__main__":
    np.savez_compressed(STORED, **{case.name: run(case) for case in CASES})
    print(f"{len(CASES)} cases, {STORED.stat().st_size} bytes")
    np.savez_compressed(PATTERNS, **{" ".join(case): run_pattern(case) for case in schedule_patterns.CASES})
    print(f"{len(schedule_patterns.CASES)} patterns, {PATTERNS.stat().st_size} bytes")
