"""Which of many tests run today: others each day, and all of them where ``VERTEBRA_MATRIX_WHOLE`` is set (``make matrix``)."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TypeVar

Item = TypeVar("Item")

SEED = int(os.environ.get("VERTEBRA_MATRIX_SEED", datetime.now(timezone.utc).strftime("%Y%m%d")))
WHOLE = bool(os.environ.get("VERTEBRA_MATRIX_WHOLE"))


def daily_sample(items: Sequence[Item], count: int) -> list[Item]:
    """Some of the items in their order; the same ones in each process of a day, or with ``VERTEBRA_MATRIX_SEED``."""
    if WHOLE:
        return list(items)
    chosen = random.Random(SEED).sample(range(len(items)), min(count, len(items)))
    return [items[index] for index in sorted(chosen)]
