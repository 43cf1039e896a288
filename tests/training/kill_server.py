"""Trains in processes that are forked when all is imported, so that a start takes no seconds; they die when they are told to.

It reads a line of JSON for each process from standard input: ``folder``, ``config`` (None to resume it) and ``die``: None, or the
number of the file operation in the run folder at which the process is killed, and the bytes that it may still write (0: it is not
begun). It prints the process id, and later how the process ended (the negative number of a signal).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

import torch

import vertebra
from vertebra.training import execution

OPERATIONS = {"open": 0, "os.rename": 1, "os.link": 1, "os.remove": 0}
"""The audit events of changes to a folder, and which argument is the path."""


def changed_path(event: str, arguments: tuple[Any, ...]) -> str | None:
    """The path that an audit event is about to change; None for all other events."""
    if event not in OPERATIONS or (event == "open" and (arguments[1] is None or not set(arguments[1]) & set("wax+"))):
        return None
    path = arguments[OPERATIONS[event]]
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None


def die_at(operation: int, size: int, folder: str) -> None:
    """Kills this process at a file operation, or in the midst of the write that it begins."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        path = changed_path(event, arguments)
        if path is None or not path.startswith(folder + os.sep):
            return
        count += 1
        if count == operation and size and event == "open":
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        elif count >= operation:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def train(order: dict[str, Any]) -> None:
    """What a forked process does."""
    if order["die"] is not None:
        die_at(*order["die"], order["folder"])
    if order.get("config") is None:
        vertebra.resume(order["folder"])
    else:
        vertebra.train(order["config"], out=order["folder"])


def main() -> None:
    """Serves until standard input ends."""
    torch.set_num_threads(1)
    execution.write_run_report = lambda *given: None  # type: ignore[assignment]  # it takes longer than these runs
    import timm  # noqa: F401  # imports are what takes long
    import torchmetrics  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                train(order)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
