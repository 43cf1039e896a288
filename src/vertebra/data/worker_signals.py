"""What signals do to loader processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def obey_parent_only(worker: int) -> None:
    """Lets a loader process ignore Ctrl-C (SIGINT), and SIGTERM from anyone but its parent.

    A terminal or a scheduler sends them to all processes of a job, and the main process needs its loaders until it has saved.
    The parent ends them itself with SIGTERM. Where the system does not tell the sender (macOS), SIGTERM ends the process.

    Args:
        worker: its number.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_await_parent, args=(parent.pid,), daemon=True).start()


def _await_parent(parent: int | None) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
