"""Work ahead in threads ends without a hang, wherever its generator is closed."""

from __future__ import annotations

from collections.abc import Generator
from threading import Event, Thread

import pytest

from vertebra.inference.io.prefetch import prefetch


def test_work_that_has_begun_is_waited_for() -> None:
    begun, go_on, done = Event(), Event(), []

    def work(number: int) -> int:
        if number:
            begun.set()
            assert go_on.wait(10)
            done.append(number)
        return number

    made = prefetch(work, iter(range(9)), threads=1, max_pending=3)
    assert next(made) == 0 and begun.wait(10)
    closing = Thread(target=made.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive() and not done
    go_on.set()
    closing.join(10)
    assert not closing.is_alive() and done == [1], "what has not begun is left out"


def test_a_generator_closed_in_its_own_thread_does_not_wait_for_itself() -> None:
    """As the garbage collector may do it, which runs in any thread."""
    made: list[Generator[int, None, None]] = []
    go_on, closed = Event(), Event()

    def work(number: int) -> int:
        if number == 1:
            assert go_on.wait(10)
            made[0].close()
            closed.set()
        return number

    made.append(prefetch(work, iter(range(9)), threads=1, max_pending=2))
    assert next(made[0]) == 0
    go_on.set()
    assert closed.wait(10)


def test_no_thread_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python takes a lock for that, which the code may hold that the garbage collector interrupts."""

    def refuse(self: Thread, timeout: float | None = None) -> None:
        raise AssertionError("joined")

    made = prefetch(abs, iter(range(9)), threads=2, max_pending=3)
    assert next(made) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "join", refuse)
        made.close()
