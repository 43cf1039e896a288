"""All benchmarks, or those that are named, each in a process of its own.

python -m benchmarks [NAME ...] [--repeats N] [--threads N] [--out FOLDER]

Each has options of its own besides: python -m benchmarks.NAME --help
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import RESULTS, result_path

BENCHMARKS = (
    "startup",
    "inference",
    "prediction_overhead",
    "training_step",
    "multitask",
    "memory",
    "scoring",
    "loading",
    "augmentation",
    "waiting",
    "mirroring",
    "opening",
    "tracking",
    "mask_decoders",
)
WITH_DATA = (
    "decoders",
    "precision",
    "training",
    "wrong_boxes",
    "wrong_labels",
    "wrong_masks",
    "wrong_points",
    "calibration",
    "label_scope",
    "attributes",
)
"""Those that need a data set or weights; they are run by themselves."""


def commands(given: argparse.Namespace) -> list[list[str]]:
    """The command of each benchmark that is asked for."""
    found = []
    for name in given.names or BENCHMARKS:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(given.out / result_path(name).name)]
        for option in ("repeats", "threads"):
            value = getattr(given, option)
            command += [] if value is None else [f"--{option}", str(value)]
        found.append(command)
    return found


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; leaves with a message where there is no such benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--repeats", type=int, help="by default as each has it")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="folder of the results; benchmarks/results by default"
    )
    given = parser.parse_args(arguments)
    for name in given.names:
        if name in WITH_DATA:
            parser.error(f"'{name}' needs a data set or weights; see: python -m benchmarks.{name} --help")
        if name not in BENCHMARKS:
            parser.error(f"no benchmark '{name}'; there are {', '.join((*BENCHMARKS, *WITH_DATA))}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs them one after the other; the number of those that failed."""
    failed = 0
    for command in commands(options(arguments)):
        print(f"\n{' '.join(command[1:])}", flush=True)
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
