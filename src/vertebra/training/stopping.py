"""Signal handling of a run: Ctrl-C (SIGINT) and SIGTERM stop it after the current step, so that the state can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from vertebra.errors import StoppedBySignal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a signal has requested the run to stop.

    Attributes:
        number: the first signal received; None before it.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._old: dict[int, Any] = {}

    @property
    def signal(self) -> int:
        """The signal that stops the run; SIGTERM if only another process received one."""
        return signal.SIGTERM if self.number is None else self.number

    def watch(self) -> None:
        """Installs the signal handlers. Signals that are ignored, as in background jobs, stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._old[number] = signal.signal(number, self.receive)

    def release(self) -> None:
        """Restores the previous signal handlers."""
        for number, handler in self._old.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._old = {}

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """Stores the first signal.

        Raises:
            StoppedBySignal: at the second signal, which stops at once.
        """
        if self.number is not None:
            raise StoppedBySignal(number)
        self.number = number
