"""All benchmarks, or those that are named: ``python -m benchmarks [NAME ...]``."""

from __future__ import annotations

import sys

from benchmarks import loading, one_pass, startup, training_step

BENCHMARKS = {"startup": startup, "one_pass": one_pass, "training_step": training_step, "loading": loading}

if __name__ == "__main__":
    chosen = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"no benchmark '{unknown[0]}'; there are {', '.join(BENCHMARKS)}")
    for name in chosen:
        BENCHMARKS[name].run()
