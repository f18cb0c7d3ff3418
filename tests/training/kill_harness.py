"""Kills training with SIGKILL at random moments, resumes it, and compares what is left with a run that was not killed.

    python tests/training/kill_harness.py --kills 300

Every kill must leave checkpoints that can all be read; the finished run must have the same bytes in its logs, weights
and last checkpoint. Then the same with failures of every kind while a killed run is being resumed: signals, SIGKILL and
errors of the disk, before and after each operation on a file. Children are forked from this process, so that a small
run takes a fraction of a second.
"""

import argparse
import contextlib
import errno
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from unittest import mock

import matplotlib.backends.backend_agg  # noqa: F401  # once, for all children

from minigrad import cli, training
from minigrad.training._run_directory import RunDirectory
from minigrad.training.logs import AppendedFile

# Small runs with everything that has a state: dropout, batch normalization, clips, schedules by step and by epoch.
COMMON = "--data blobs:samples=80 --epochs 6 --batch-size 8 --model mlp:6,batch,dropout=0.2"
CASES = {
    "SGD": "--optimizer SGD --nesterov --schedule OneCycleLR --checkpoint-every 3 --record 2",
    "SGD accumulated": "--optimizer SGD --accumulate 3 --schedule CosineAnnealingLR --schedule-every step",
    "Adagrad": "--optimizer Adagrad --schedule ExponentialLR:0.9",
    "Adadelta": "--optimizer Adadelta --checkpoint-every 1",
    "RMSprop": "--optimizer RMSprop --centered --momentum 0.5 --schedule StepLR:2 --warmup 2",
    "Adam": "--optimizer Adam --amsgrad --clip by_global_norm:0.5 --schedule ReduceLROnPlateau:mode=max,patience=0",
    "AdamW": "--optimizer AdamW --clip adaptive:0.05 --clip by_value:0.1 --checkpoint-every 2 --record 5",
    "Adamax": "--optimizer Adamax --schedule PolynomialLR:8",
    "NAdam": "--optimizer NAdam --schedule CosineAnnealingWarmRestarts:7 --schedule-every step --checkpoint-every 5",
    "RAdam": "--optimizer RAdam --schedule LinearLR",
    "AdaBelief": "--optimizer AdaBelief --dtype float64 --checkpoint-every 4",
    "Lion": "--optimizer Lion --schedule MultiStepLR:[2,4]",
    "LAMB": "--optimizer LAMB --weight-decay 0.01 --schedule WarmupStableDecay:5,10,20 --schedule-every step",
    "LARS": "--optimizer LARS --weight-decay 0.01 --checkpoint-every 7",
    "Lookahead": "--optimizer Lookahead --lookahead k=3,momentum=reset --checkpoint-every 2",
    "Lookahead Adam": "--optimizer Adam --lookahead k=4,momentum=pullback --patience 4 --checkpoint-every 3 --record 4",
}


# Operations on files, with a moment before and one after each.
OPERATIONS = [(os, name) for name in ("fsync", "replace", "rename", "unlink", "link", "mkdir")]
OPERATIONS += [(AppendedFile, "cut"), (AppendedFile, "write")]


@contextlib.contextmanager
def at_moment(number, act):
    """Do something at the moment of that number; the list of how many there were."""
    passed = [0]

    def watched(operation):
        def call(*arguments, **options):
            for work in (None, operation):
                result = work(*arguments, **options) if work is not None else None
                passed[0] += 1
                if passed[0] == number:
                    act()
            return result

        return call

    with contextlib.ExitStack() as stack:
        for owner, name in OPERATIONS:
            stack.enter_context(mock.patch.object(owner, name, watched(getattr(owner, name))))
        yield passed


def no_fsync(handle):
    """Does nothing: no power is cut here, and a killed process loses nothing that it has given to the system."""


def full_disk():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FAILURES = {name: lambda name=name: os.kill(os.getpid(), getattr(signal, name)) for name in
            ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")}  # fmt: skip
FAILURES["full disk"] = full_disk


def fork(arguments, moment=None, failure=None):
    """Start the command in a child process that prints nothing, and may fail at a moment; its process number."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.setsid()  # only the parent gets Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.fsync = no_fsync
        with at_moment(moment, FAILURES.get(failure)):
            status = cli.main(arguments)
    finally:
        os._exit(status)


def wait(child, seconds=None):
    """The exit status, or ``None`` if the child was still running after ``seconds`` and was killed."""
    if seconds is not None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.0005)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if status == -signal.SIGKILL else status


def start(case, folder):
    return ["train", *COMMON.split(), *CASES[case].split(), "--output", str(folder), "--name", "run"]


def result(path):
    """The bytes that must not depend on kills."""
    directory = RunDirectory(path)
    files = [path / "steps.jsonl", path / "metrics.csv", directory.weights, directory.last_checkpoint(), directory.best]
    files.append(path / "end.json")
    files += [directory.record] if directory.record.exists() else []
    return {file.name: file.read_bytes() for file in files}


def check_readable(path):
    """Everything with a final name is whole."""
    directory = RunDirectory.open(path)
    directory.config()
    directory.ending()
    directory.last_checkpoint()
    for file in directory.checkpoints.glob("*.safetensors"):
        if not file.name.startswith("."):
            training.read_checkpoint(file)
    if directory.weights.exists():
        training.read_tensors(directory.weights)


def killed_run(case, folder, kills, rng):
    """Run a case to its end with up to ``kills`` kills on the way, and check it; return their number."""
    # Kernels and modules that the parent has loaded are there in every child.
    with mock.patch.object(os, "fsync", no_fsync):
        assert cli.main([*start(case, folder / "loaded"), "--quiet"]) == 0
    whole = folder / "whole"
    begun = time.perf_counter()
    status = wait(fork(start(case, whole)))
    assert status == 0, f"{case}: the run without kills ended with status {status}"
    duration = time.perf_counter() - begun
    expected = result(whole / "run-1")

    path, done = folder / "killed" / "run-1", 0
    while True:
        arguments = ["resume", str(path)] if path.exists() else start(case, folder / "killed")
        status = wait(fork(arguments), rng.uniform(0, 0.8 * duration) if done < kills else None)
        if path.exists():
            check_readable(path)
        if status is not None:
            break
        done += 1
    assert status == 0, f"{case}: resuming ended with status {status}"
    found = result(path)
    differing = [name for name in expected if found.get(name) != expected[name]]
    assert not differing, f"{case}: after {done} kills other bytes in {', '.join(differing)}"
    assert not (folder / "killed" / "run-2").exists()
    return done


def failing_resume(case, folder, failures, rng):
    """Kill a run, inject up to ``failures`` failures while it is resumed, and check it; return the failures."""
    with mock.patch.object(os, "fsync", no_fsync), at_moment(None, None) as all_moments:
        assert cli.main([*start(case, folder / "whole"), "--quiet"]) == 0
    expected = result(folder / "whole" / "run-1")
    path, happened = folder / "killed" / "run-1", []

    def fail(arguments, moment, failure):
        status = os.waitstatus_to_exitcode(os.waitpid(fork(arguments, moment, failure), 0)[1])
        allowed = {"SIGKILL": -9, "full disk": 1}.get(failure)
        allowed = 128 + getattr(signal, failure) if allowed is None else allowed
        assert status in (0, allowed), f"{case}: {failure} at moment {moment} ended with status {status}, {happened}"
        happened.append(f"{failure} at moment {moment}")
        check_readable(path)

    fail(start(case, folder / "killed"), rng.randrange(all_moments[0] // 4, all_moments[0] * 3 // 4), "SIGKILL")
    for number in range(failures):
        # The first one stops the run before its first step, where recovery is half done.
        moment = rng.randrange(1, 12) if number < 2 else rng.randrange(1, 60)
        fail(["resume", str(path)], moment, rng.choice(list(FAILURES)))
    status = wait(fork(["resume", str(path)]))
    assert status == 0, f"{case}: resuming ended with status {status} after {happened}"
    found = result(path)
    differing = [name for name in expected if found.get(name) != expected[name]]
    assert not differing, f"{case}: after {happened} other bytes in {', '.join(differing)}"
    assert not list(folder.glob("killed/**/.*")), f"{case}: {happened} left temporary files"
    return happened


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="how many in all (default: 300)")
    parser.add_argument("--per-run", type=int, default=8, help="how many on the way of one run, at most (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments (default: 0)")
    chosen = parser.parse_args()
    rng, total, runs = random.Random(chosen.seed), 0, 0
    while total < chosen.kills:
        for case in CASES:
            with tempfile.TemporaryDirectory() as folder:
                total += killed_run(case, Path(folder), min(chosen.per_run, chosen.kills - total), rng)
            runs += 1
            print(f"{total:5d} kills, {runs:4d} runs, last {case}", flush=True)
            if total >= chosen.kills:
                break
    for number in range(chosen.kills // 4):
        case = list(CASES)[number % len(CASES)]
        with tempfile.TemporaryDirectory() as folder:
            happened = failing_resume(case, Path(folder), 4, rng)
        print(f"{case}: {', '.join(happened)}", flush=True)
    print(f"{total} kills in {runs} runs: every checkpoint was readable, and every run ended with the same bytes")


if __name__ == "__main__":
    main()
