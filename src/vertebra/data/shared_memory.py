"""How many loader processes the shared memory has room for.

Batches come from loader processes through ``/dev/shm``. Docker gives a container 64 MB of it, which a few batches of photos fill.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils import _pytree as tree

from vertebra.data.batches import Batch, collate
from vertebra.data.samples import MixedData, SampleKey

PLACE = Path("/dev/shm")
AHEAD = 2  # batches that a process works on or has ready
IN_USE = 2  # batches that the main process holds: one in use, and the next


def free_bytes() -> int | None:
    """Free bytes of the shared memory; None where this system has no such limit."""
    if sys.platform != "linux":
        return None
    return shutil.disk_usage(PLACE).free if PLACE.is_dir() and os.access(PLACE, os.W_OK) else 0


def batch_bytes(dataset: MixedData, keys: list[SampleKey]) -> int:
    """About how many bytes a batch takes, from one of its images; 0 where that cannot be loaded: the loader reports that."""
    try:
        batch = collate([dataset[keys[0]]], dataset.labels)
    except Exception:  # of whatever kind: the loader meets it again, and names the image
        return 0
    return sum(value.nbytes for value in _tensors(batch)) * len(keys)


def room_for(workers: int, batch: int, free: int) -> int:
    """How many of some loader processes have room.

    Args:
        workers: how many are wanted.
        batch: bytes of a batch.
        free: bytes of the shared memory.
    """
    return workers if batch == 0 else max(0, min(workers, (free // batch - IN_USE) // AHEAD))


def shortage(fitting: int, wanted: int, batch: int, free: int) -> str:
    """The message where not all loader processes have room."""
    how = f"{fitting} of {wanted} loader processes are used" if fitting else "images are loaded in the main process"
    needed = _megabytes((AHEAD * wanted + IN_USE) * batch)
    return (
        f"{how}, because {PLACE} has {_megabytes(free)} MB free and {wanted} with batches of {_megabytes(batch)} MB need "
        f"{needed} MB; "
        f"give a container more: docker run --shm-size={needed + 64}m"
    )


def share(batch: Batch) -> Batch:
    """A batch in shared memory. By itself that would be done when it is sent, in a thread whose errors are lost.

    Raises:
        RuntimeError: there is no room.
    """
    for value in _tensors(batch):
        value.share_memory_()  # type: ignore[no-untyped-call]
    return batch


def _tensors(batch: Batch) -> list[Tensor]:
    held: Any = (batch.images, batch.sizes, [(branch.rows, branch.targets) for branch in batch.targets.values()])
    return [value for value in tree.tree_leaves(held) if isinstance(value, Tensor)]


def _megabytes(count: int) -> int:
    return -(-count // 1_000_000)
