"""Feeds damaged inputs to what opens files, each measured, in a process that may die.

A format says how a sound input is written, how it is damaged, and how it is opened. Files named ``fuzz_formats_*.py`` beside
this one are found by themselves; each has a dictionary ``FORMATS``. To add a format, add such a file.

What comes of an input is counted under one of `OUTCOMES`; the last three are faults.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

OUTCOMES = ("clean", "accepted", "traceback", "over 5 s", "over 500 MB")
FAULTS = OUTCOMES[2:]
SECONDS = 5.0
MEGABYTES = 500.0
PATIENCE = 300.0  # seconds without a line from the process, after which it is ended: the machine may be busy otherwise
SHOWN = 5


@dataclass(frozen=True)
class Format:
    """A kind of input.

    Attributes:
        write: writes a sound input into an empty folder, and gives the path to open.
        spoil: damages it in place; all randomness comes from the generator.
        read: opens it and uses what comes, as a user would; a `VertebraError` is a clean refusal. It is given the number of the
            input, by which it can read each in one of several ways.
    """

    write: Callable[[Path], Path]
    spoil: Callable[[np.random.Generator, Path], None]
    read: Callable[[Path, int], object]


@dataclass
class Counts:
    """What came of the inputs of one format; ``faults`` are the first few, each with its number and what was seen."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, outcome: str, detail: str) -> None:
        """Counts one input."""
        self.outcomes[outcome] += 1
        if outcome in FAULTS and len(self.faults) < SHOWN:
            self.faults.append(f"input {number}: {outcome}: {detail}")

    @property
    def sound(self) -> bool:
        """Whether nothing but refusals and accepted inputs came."""
        return not any(self.outcomes[name] for name in FAULTS)


def formats() -> dict[str, Format]:
    """All formats that there are, by name."""
    return {name: kind for module in _modules() for name, kind in import_module(module).FORMATS.items()}


def _modules() -> list[str]:
    """The modules beside this one that have formats."""
    here = Path(__file__).parent
    if str(here) not in sys.path:
        sys.path.insert(0, str(here))
    return [file.stem for file in sorted(here.glob("fuzz_formats_*.py"))]


def _module_of(name: str) -> str:
    """The module of a format: a process that imports it alone starts faster."""
    return next(module for module in _modules() if name in import_module(module).FORMATS)


def run(name: str, seed: int, count: int, start: int = 0) -> Counts:
    """Feeds ``count`` inputs, numbered from ``start``; the same name, seed and number are always the same input."""
    counts = Counts()
    following = start
    while following < start + count:
        for number, outcome, detail in _worker(name, seed, following, start + count - following):
            counts.add(number, outcome, detail)
            following = number + 1
    return counts


def table(results: dict[str, Counts]) -> str:
    """The counters as a table, and below it the first faults."""
    width = max(map(len, ["format", *results]))
    lines = ["  ".join(["format".ljust(width), *OUTCOMES])]
    for name, counts in results.items():
        cells = [str(counts.outcomes[outcome]).rjust(len(outcome)) for outcome in OUTCOMES]
        lines.append("  ".join([name.ljust(width), *cells]))
    lines += [f"{name}: {fault}" for name, counts in results.items() for fault in counts.faults]
    return "\n".join(lines)


def _worker(name: str, seed: int, start: int, count: int) -> Iterator[tuple[int, str, str]]:
    """Results from a process of its own, until it has done all or is ended; the input that ends it is a fault."""
    script = Path(__file__).with_name("fuzz_worker.py")
    command = [sys.executable, str(script), _module_of(name), name, str(seed), str(start), str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    number, began = start, False
    try:
        for line in _lines(process):
            told = json.loads(line)
            if "refused" in told:
                raise RuntimeError(f"format {name}: its sound input is not accepted: {told['refused']}")
            number, began = told["number"], True
            if "outcome" in told:
                yield number, told["outcome"], told["detail"]
                number += 1
        code = process.wait(PATIENCE)
        if not began:
            raise RuntimeError(
                f"format {name}: the process ended with {code} before the first input: {' '.join(command)}"
            )
        if number < start + count:
            yield number, "traceback", f"the process ended by itself with {code}"
    except TimeoutError:
        yield number, "over 5 s", f"no answer in {PATIENCE:.0f} s"
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Lines as they come; `TimeoutError` where none does for too long."""
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(PATIENCE):
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                return
            *whole, rest = (rest + part).split(b"\n")
            yield from whole
    raise TimeoutError


def main(arguments: list[str] | None = None) -> int:
    """The command: exit code 1 if there was any fault."""
    import argparse

    parser = argparse.ArgumentParser(description="Damaged inputs for everything that opens files.")
    parser.add_argument("--count", type=int, default=10_000, help="inputs for each format")
    parser.add_argument("--format", action="append", help="one format; may be given several times (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first input, to try one again")
    given = parser.parse_args(arguments)
    known = formats()
    unknown = [name for name in given.format or [] if name not in known]
    if unknown:
        parser.error(f"unknown format {unknown[0]}; there is: {', '.join(known)}")
    results: dict[str, Any] = {}
    for name in given.format or known:
        began = time.monotonic()
        results[name] = run(name, given.seed, given.count, given.start)
        print(f"{name}: {given.count} inputs in {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(table(results))
    return 0 if all(counts.sound for counts in results.values()) else 1
