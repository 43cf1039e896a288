"""Messages of a run, on standard error."""

from __future__ import annotations

import os
import sys

_RANKS = (
    "RANK",
    "LOCAL_RANK",
    "SLURM_PROCID",
    "JSM_NAMESPACE_RANK",
)  # set by launchers, in the order that Lightning has


def is_first_process() -> bool:
    """Whether this is the only process of a run or the first of several. Lightning knows it, where it is imported."""
    lightning = sys.modules.get("lightning.fabric.utilities.rank_zero")
    if lightning is None:
        return next((os.environ[name] for name in _RANKS if name in os.environ), "0") == "0"
    return not getattr(lightning.rank_zero_only, "rank", 0)


def emit(*lines: str) -> None:
    """Prints to standard error, only once if there are several processes."""
    if is_first_process():
        for line in lines:
            print(line, file=sys.stderr)
