"""SIGKILL at random moments; ``python tests/training/kill_harness.py --kills 300`` does it hundreds of times."""

import os
import random

import kill_harness
import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks children to kill them")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("case", ["SGD", "Lookahead Adam", "LAMB", "SGD accumulated"])
def test_killed_runs_leave_readable_checkpoints_and_end_with_the_same_bytes(tmp_path, case):
    rng = random.Random(case)
    kills = 0
    for number in range(8):
        kills += kill_harness.killed_run(case, tmp_path / str(number), 7 - kills, rng)
        if kills >= 7:
            return
    assert kills, "no run was killed; the moments are too late"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks children that fail")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("case", ["SGD", "Adadelta", "SGD accumulated"])
def test_runs_whose_resuming_fails_again_and_again_end_with_the_same_bytes(tmp_path, case):
    kill_harness.failing_resume(case, tmp_path, 4, random.Random(case))
