"""Signal handling of loader processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def obey_parent_only(worker: int) -> None:
    """Makes a loader process ignore Ctrl-C (SIGINT), and SIGTERM from any process but its parent.

    A terminal or a scheduler sends them to all processes of a job, but the main process needs its loaders until it has saved.
    The parent ends them with SIGTERM. On systems that do not report the sender (macOS), SIGTERM always ends the process.

    Args:
        worker: index of the process.
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
