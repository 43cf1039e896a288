"""Converts errors of loader processes into one-sentence errors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import queues
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from vertebra.data.worker_signals import obey_parent_only
from vertebra.errors import RunError, VertebraError

_SIGNS = ("DataLoader worker (pid", "Pin memory thread exited", "Too many open files. Communication")
_SHM = "/dev/shm is full: give a container more (docker run --shm-size=1g), or use fewer loader processes (train.workers=0: none)"
PATIENCE = 5.0  # seconds to wait for the exit code of an ended process


class Failure(NamedTuple):
    """An error sent from a loader process as a value; raised there, it would be wrapped in that process' traceback.

    Attributes:
        error: the error to raise in the main process.
        details: the traceback.
    """

    error: VertebraError
    details: str = ""

    def rethrow(self) -> None:
        """Raises the error."""
        raise self.error from (_Details(self.details) if self.details else None)


class _Details(Exception):
    """The traceback of another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def failure(error: Exception, doing: str) -> Failure:
    """An error as one sentence.

    Args:
        error: the error that was raised.
        doing: the failed action ("cat.jpg could not be loaded").
    """
    if isinstance(error, VertebraError):
        return Failure(error)
    details = traceback.format_exc()
    text = " ".join(str(error).split())
    if "shared memory" in text or "shm" in text:
        return Failure(RunError(_SHM), details)
    return Failure(RunError(f"{doing}: {type(error).__name__}{': ' if text else ''}{text}"), details)


def prepare_worker(number: int) -> None:
    """Initializes a loader process. If a batch cannot be sent, the process exits, since the main process would wait for the batch
    forever. It also exits if the main process has already ended, which PyTorch only detects later."""
    main = multiprocessing.parent_process()
    if main is not None and not main.is_alive():
        os._exit(1)
    obey_parent_only(number)
    queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: Exception, sent: Any) -> None:
    print(f"a batch could not be sent: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(1)


@contextmanager
def convert_worker_exits() -> Iterator[None]:
    """Converts PyTorch's error about an ended loader process, which it raises anywhere in the main thread, into one sentence.

    Raises:
        RunError: a loader process ended.
    """
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if isinstance(error, VertebraError) or not text.startswith(_SIGNS):
            raise
        raise RunError(_why(text)) from error


def find_worker_error(workers: Sequence[BaseProcess], error: Exception) -> RunError | None:
    """The error for a batch that was not received; None if no loader process caused it.

    Args:
        workers: all loader processes; the exit code of the ended one may not be available yet.
        error: the error that was raised while waiting for the batch.
    """
    text = " ".join(str(error).split())
    if isinstance(error, VertebraError) or (isinstance(error, RuntimeError) and not text.startswith(_SIGNS)):
        return None
    if "Too many open files" in text:
        return RunError(_why(text))
    until = time.monotonic() + PATIENCE
    while not any(worker.exitcode for worker in workers) and time.monotonic() < until:
        time.sleep(0.02)
    code = next((worker.exitcode for worker in workers if worker.exitcode), None)
    if code is None:
        return None if isinstance(error, OSError | EOFError) else RunError(_why(text))
    outcome = f"is killed by signal: {signal.strsignal(-code)}" if code < 0 else f"exited with exit code {code}"
    return RunError(_why(f"DataLoader worker (pid) {outcome}"))


def _why(text: str) -> str:
    """One sentence for PyTorch's error about an ended process."""
    if "Bus error" in text:
        return f"a loader process was killed, most likely because {_SHM}"
    if "Too many open files" in text:
        return "too many files are open; allow more (ulimit -n 65535), or use fewer loader processes (train.workers=0: none)"
    if "killed by signal: Killed" in text:
        return (
            "a loader process was killed from outside, most likely because memory ran out; use fewer loader processes "
            "(train.workers=1, or 0 for none) or smaller batches"
        )
    what = text.partition(") ")[2].partition(". ")[0].rstrip(". ").replace(" unexpectedly", "") or "ended"
    return f"a loader process {what}; to see why, load in the main process: train.workers=0"
