"""Work done ahead in threads, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import get_ident
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def prefetch(
    work: Callable[[Item], Done], items: Iterable[Item], *, threads: int, most: int
) -> Generator[Done, None, None]:
    """What ``work`` gives for each item, in the items' order; the next ones are worked on while one is used.

    An exception of ``work`` is raised where its result would have come. When the generator is closed, work that has begun is
    waited for. That may be in any thread, in the middle of anything, since the garbage collector closes generators too: so threads
    are not joined, for which Python takes a lock that the interrupted code may hold, and no thread waits for itself.

    Args:
        threads: how many items are worked on at once.
        most: how many items at most are taken before their results are.
    """
    own: set[int] = set()
    pool = ThreadPoolExecutor(threads, initializer=lambda: own.add(get_ident()))
    waiting: deque[Future[Done]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if get_ident() not in own:
            wait([future for future in waiting if not future.cancelled()])
