"""How long the command line takes to answer."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measure import in_turns, show

MAIN = "import sys; sys.argv = ['vertebra', '--help']; from vertebra.cli.main import main; main()"


def run() -> None:
    """``vertebra --help`` beside an import of torch alone."""
    show(
        "start",
        in_turns(
            {
                "vertebra --help": lambda: subprocess.run(
                    [sys.executable, "-c", MAIN], stdout=subprocess.DEVNULL, check=True
                ),
                "import torch": lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True),
            }
        ),
    )
