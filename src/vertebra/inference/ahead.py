"""Work done ahead in threads, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def ahead(
    work: Callable[[Item], Done], items: Iterable[Item], *, threads: int, most: int
) -> Generator[Done, None, None]:
    """What ``work`` gives for each item, in the items' order; the next ones are worked on while one is used.

    An exception of ``work`` is raised where its result would have come.

    Args:
        threads: how many items are worked on at once.
        most: how many items at most are taken before their results are.
    """
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Done]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
