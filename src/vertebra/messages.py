"""Messages of a run, on standard error."""

from __future__ import annotations

import sys

from lightning.fabric.utilities.rank_zero import rank_zero_only


def is_first_process() -> bool:
    """Whether this is the only process of a run or the first of several."""
    return not getattr(rank_zero_only, "rank", 0)


def emit(*lines: str) -> None:
    """Prints to standard error, only once if there are several processes."""
    if is_first_process():
        for line in lines:
            print(line, file=sys.stderr)
