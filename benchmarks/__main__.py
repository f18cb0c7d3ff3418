"""``python -m benchmarks``: measure every group, and write JSON, a page of tables and pictures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--quick", action="store_true", help="small sizes and few repetitions: under two minutes")
    parser.add_argument("--only", metavar="GROUP", action="append", default=[], help="this group; may be repeated")
    parser.add_argument("--list", action="store_true", help="list the groups and exit")
    parser.add_argument("--busy", action="store_true", help="while a second process occupies a core")
    parser.add_argument("--cores", type=int, metavar="N", help="use only N cores (Linux)")
    parser.add_argument("--redraw", action="store_true", help="only make the page and the pictures from the JSON files")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where to write; by default benchmarks/results, and with --quick, --busy or --cores a folder in it",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0, 1 if a group failed or could not be written, 2 for wrong arguments."""
    parser = _parser()
    given = sys.argv[1:] if arguments is None else arguments
    chosen = parser.parse_args(given)
    from .cores import busy_neighbor, use_cores

    if chosen.cores is not None:
        # Before the libraries imported below count the cores.
        try:
            use_cores(chosen.cores)
        except ValueError as error:
            parser.error(str(error))
    from . import effort, suite

    for name in chosen.only:
        if name not in suite.GROUPS:
            parser.error(f"--only: unknown group {name!r}; known are {', '.join(suite.GROUPS)}")
    if chosen.list:
        for name in suite.GROUPS:
            print(f"{name:22s} {suite.group(name).TITLE}")
        return 0
    variants = ["quick"] * chosen.quick + ["busy"] * chosen.busy
    variants += [] if chosen.cores is None else [f"cores-{chosen.cores}"]
    folder = chosen.output or (suite.RESULTS / "-".join(variants) if variants else suite.RESULTS)
    try:
        if chosen.redraw:
            written = suite.redraw(folder)
            for path in written:
                print(f"wrote {path}")
            if not written:
                raise ValueError(f"{folder} holds no results to draw")
            return 0
        names = [name for name in suite.GROUPS if name in chosen.only or not chosen.only]
        command = " ".join(["python -m benchmarks", *given])
        with busy_neighbor(chosen.busy):
            failed = suite.run(names, effort.QUICK if chosen.quick else effort.FULL, command, folder)
    except (OSError, ValueError) as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what was measured before is written", file=sys.stderr)
        return 130
    print(f"\nresults: {folder}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
