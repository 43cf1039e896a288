"""Prefetching in threads, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import get_ident
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def prefetch(
    work: Callable[[Item], Done], items: Iterable[Item], *, threads: int, max_pending: int
) -> Generator[Done, None, None]:
    """The results of ``work`` for each item, in order; later items are processed while a result is used.

    An exception of ``work`` is raised in place of its result. Closing the generator waits for running work. The garbage collector
    may close it in any thread at any time; therefore threads are not joined (joining takes a lock that the interrupted code may
    hold), and no thread waits for itself.

    Args:
        work: called for each item, in a thread.
        items: the inputs.
        threads: the number of threads.
        max_pending: the largest number of items in progress.
    """
    worker_ids: set[int] = set()
    pool = ThreadPoolExecutor(threads, initializer=lambda: worker_ids.add(get_ident()))
    waiting: deque[Future[Done]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > max_pending:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if get_ident() not in worker_ids:
            wait([future for future in waiting if not future.cancelled()])
