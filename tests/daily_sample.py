"""Which of many tests run today: another sample each day, and all of them where ``VERTEBRA_MATRIX_WHOLE`` is set (``make matrix``).

A failing test of a sample prints the command that repeats it, with the seed of that day.
"""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar

import pytest

Item = TypeVar("Item")

SEED_NAME, WHOLE_NAME = "VERTEBRA_MATRIX_SEED", "VERTEBRA_MATRIX_WHOLE"
SEED = int(os.environ.get(SEED_NAME, datetime.now(timezone.utc).strftime("%Y%m%d")))
WHOLE = bool(os.environ.get(WHOLE_NAME))
MARKER = "daily_sample"


def daily_sample(items: Sequence[Item], count: int) -> list[Any]:
    """Some of the items in their order, as parameters of a test; the same ones in each process of a day, or with a fixed
    ``VERTEBRA_MATRIX_SEED``."""
    rows = range(len(items))
    chosen = rows if WHOLE else sorted(random.Random(SEED).sample(rows, min(count, len(items))))
    parameters = [items[row] if isinstance(items[row], tuple) else (items[row],) for row in chosen]
    return [pytest.param(*values, marks=getattr(pytest.mark, MARKER)) for values in parameters]


def repeat_command(nodeid: str) -> str:
    """The command that runs one test with today's sample."""
    setting = f"{WHOLE_NAME}=1" if WHOLE else f"{SEED_NAME}={SEED}"
    return f"{setting} python -m pytest {shlex.quote(nodeid)}"


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker of tests that depend on the day."""
    config.addinivalue_line("markers", f"{MARKER}: depends on the day; see tests/daily_sample.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Adds the command to the report of a failure."""
    report: Any = yield
    if report.failed and item.get_closest_marker(MARKER) is not None:
        report.sections.append(("repeat this test", repeat_command(item.nodeid)))
    return report
