"""``minigrad list`` and ``minigrad devices``: what there is, read from the signatures of the classes themselves."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

from ..checks import unknown
from ..data import DATASETS
from ..devices.cuda import INSTALL, CudaStatus, cuda_status, update_problem
from ..kernels.threads import get_num_threads
from ..nn.containers import ACTIVATIONS, NORMS
from ..training import catalog
from ..training.calls import arguments_of, describe
from .errors import CommandError
from .options import RUN_DEFAULTS

SECTIONS = ("datasets", "models", "losses", "optimizers", "schedules", "clips")


def show_list(sections: list[str]) -> int:
    """Print the names in some sections, or in all, with their arguments and defaults; or the runs in a folder."""
    for name in sections:
        if name not in SECTIONS and os.path.isdir(name):
            if len(sections) > 1:
                raise CommandError(f"minigrad list: {name} is a folder of runs; list it by itself")
            from .runs import show_runs

            return show_runs(Path(name))
        if name not in SECTIONS:
            there_is_none = os.sep in name or name == RUN_DEFAULTS["output"]
            problem = f"{name}: no such folder" if there_is_none else unknown("section", name, SECTIONS)
            raise CommandError(f"minigrad list: {problem}")
    for number, name in enumerate(sections or SECTIONS):
        if number:
            print()
        print(f"{name}:")
        for line in _lines(name):
            print(f"  {line}")
    return 0


def _lines(section: str) -> list[str]:
    if section == "datasets":
        return [
            *(describe(name, catalog.data_arguments(name)) for name in DATASETS),
            "a folder with the IDX files of MNIST, Fashion-MNIST or the like",
        ]
    if section == "models":
        return [
            "64-64-10: the sizes of all layers, with ReLU between them",
            f"mlp:128,relu,64: hidden layers, each followed by any of {', '.join([*ACTIVATIONS, *NORMS, 'dropout=p'])}",
        ]
    if section == "losses":
        return [describe(name, catalog.loss_arguments(name)) for name in catalog.LOSSES]
    if section == "optimizers":
        lines = []
        for name, settings in catalog.OPTIMIZERS.items():
            if name == "Lookahead":
                lines.append(f"{describe(name, catalog.lookahead_arguments())} around any of them, with --lookahead")
                continue
            begins = _told(settings)
            if (numbers := _told(catalog.FOR_NUMBERS.get(name, settings))) != begins:
                begins += f", and with numbers as labels with {numbers}"
            lines.append(f"{describe(name, catalog.optimizer_arguments(name))}; minigrad train begins with {begins}")
        return lines
    if section == "schedules":
        return [describe(name, catalog.schedule_arguments(name)) for name in catalog.schedules()]
    return [describe(name, arguments_of(kind)) for name, kind in catalog.CLIPS.items()]


def _told(settings: dict[str, float]) -> str:
    return ", ".join(f"{key}={value:g}" for key, value in settings.items())


def show_devices() -> int:
    """Print what this machine computes on."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"cpu: {affinity} cores for this process, {get_num_threads()} threads for update kernels")
    print(f"numba {version('numba')}, numpy {version('numpy')}")
    for line in _cuda_lines(cuda_status()):
        print(line)
    return 0


def _cuda_lines(status: CudaStatus) -> list[str]:
    """The GPUs and the versions; if they cannot be used, why, and what to do."""
    if not status.usable:
        return [f"cuda: not available: {status.problem}", f"  {status.remedy}"]
    lines = [f"cuda: {name}" + (", which is used" if i == 0 else "") for i, name in enumerate(status.devices)]
    lines.append(f"CUDA {status.driver} by its driver, CuPy built for {status.runtime}")
    problem = update_problem()
    return [*lines, f"cuda: no training: {problem}", f"  {INSTALL}"] if problem else lines
