"""The process that opens damaged inputs: ``fuzz_worker.py MODULE FORMAT SEED START COUNT``, a line of JSON for each."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from fuzz_restore import Trial
from fuzz_runner import MEGABYTES, SECONDS, Format

from vertebra.errors import VertebraError

ROOM = 6 * 2**30  # bytes of address space above what the imports take, so that a bomb cannot take the machine's memory


def main() -> None:
    """Opens the inputs one after the other."""
    module, name, seed, start, count = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is not an answer
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)  # numbers that overflow without anyone looking
    kind: Format = import_module(module).FORMATS[name]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        os.environ["VERTEBRA_CACHE"] = str(cache)
        sound = Path(folder, "sound")
        sound.mkdir()
        opened = kind.write(sound).relative_to(sound)
        outcome, detail = _opened(kind, sound / opened, 0)  # imports are made here, not within a measurement
        if outcome != "accepted":
            return _tell(answers, refused=detail)
        _limit_memory()
        gc.collect()
        gc.freeze()  # what the imports made is not searched again for each input
        trial = Trial(sound, Path(folder, "trial"))
        path = Path(folder, "trial", opened)
        for number in range(start, start + count):
            _tell(answers, number=number)
            rng = np.random.default_rng([seed, number, zlib.crc32(name.encode())])
            kind.spoil(rng, path)
            trial.stamp(number)
            outcome, detail = _measured(kind, path, number)
            _tell(answers, number=number, outcome=outcome, detail=detail)
            trial.restore()
            shutil.rmtree(cache, ignore_errors=True)  # what is kept of an input must not answer for another
    return None


def _measured(kind: Format, path: Path, number: int) -> tuple[str, str]:
    base = _forget_peak()
    began = time.process_time()
    outcome, detail = _opened(kind, path, number)
    seconds, megabytes = time.process_time() - began, (_status("VmHWM") - base) / 1e6
    if outcome != "traceback" and seconds > SECONDS:
        return "over 5 s", f"{seconds:.1f} s of CPU time ({outcome}: {detail})"
    if outcome != "traceback" and megabytes > MEGABYTES:
        return "over 500 MB", f"{megabytes:.0f} MB ({outcome}: {detail})"
    return outcome, detail


def _opened(kind: Format, path: Path, number: int) -> tuple[str, str]:
    try:
        kind.read(path, number)
    except VertebraError as error:
        return "clean", str(error)
    except BaseException as error:  # all else is a fault, MemoryError and RecursionError too
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "traceback", f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"[:400]
    return "accepted", ""


def _limit_memory() -> None:
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(
            resource.RLIMIT_AS, (int(_status("VmSize")) + ROOM, resource.getrlimit(resource.RLIMIT_AS)[1])
        )


def _forget_peak() -> float:
    """Makes the peak begin anew, where the system can, and gives the memory that is held now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> float:
    """A line of this process' status, in bytes; without such a file (not on Linux) the highest peak so far."""
    try:
        found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    return 1024.0 * (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _tell(answers: TextIO, **values: Any) -> None:
    answers.write(json.dumps(values) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
