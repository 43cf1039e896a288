"""The order of images that are read in blocks, from tar archives at a URL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WINDOW = 16  # blocks that are in use at a time


def by_blocks(
    rows: np.ndarray, blocks: np.ndarray, counts: Sequence[int], processes: int, draw: np.random.Generator
) -> np.ndarray:
    """Brings images into an order in which few blocks are in use at a time.

    The blocks are shuffled; of each `WINDOW` blocks in a row, the images stay in their random order. Each process draws from blocks
    of its own, but for those at the borders, so that every block is read by one machine. Each image is drawn as often as before.

    Args:
        rows: (n,) int64, images in random order.
        blocks: (n,) int64, the block of each.
        counts: the number of images in each batch, which take turns between the processes; they sum to n.
        processes: their number.
        draw: the random generator.

    Returns:
        (n,) int64, the rows in another order: those of the first batch first.
    """
    different, codes = np.unique(blocks, return_inverse=True)
    windows = draw.permutation(len(different))[codes.reshape(-1)] // WINDOW
    ordered = rows[np.argsort(windows, kind="stable")]
    process_of = np.repeat(np.arange(len(counts)) % processes, counts)
    result = np.empty_like(rows)
    result[np.argsort(process_of, kind="stable")] = ordered
    return result
