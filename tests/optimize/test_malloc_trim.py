"""Freed memory goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from vertebra.optimize.malloc_trim import LARGE

HOLES = """
from vertebra.optimize.malloc_trim import LARGE, malloc_trim

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

blocks = [bytearray(b"x" * 100_000) for _ in range(400)]
del blocks[::2]
full = resident()
malloc_trim({freed})
print(full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory so")
@pytest.mark.parametrize(("freed", "returned"), [(LARGE, True), (LARGE - 1, False)])
def test_holes_between_blocks_are_given_back(freed: int, returned: bool) -> None:
    script = HOLES.format(freed=freed)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 15_000) == returned
