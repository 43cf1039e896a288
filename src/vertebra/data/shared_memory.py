"""The number of loader processes that fit into shared memory.

Loader processes send batches through ``/dev/shm``. A Docker container has 64 MB of it by default, which a few batches
of photos fill.
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

SHARED_MEMORY = Path("/dev/shm")
PREFETCH = 2  # batches that a process is preparing or has ready
IN_USE = 2  # batches that the main process holds: one in use, and the next


def free_bytes() -> int | None:
    """Free bytes of the shared memory; None where this system has no such limit."""
    if sys.platform != "linux":
        return None
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK) else 0


def batch_bytes(dataset: MixedData, keys: list[SampleKey]) -> int:
    """The approximate bytes of a batch, from one of its images; 0 if that cannot be loaded, which the loader reports."""
    try:
        batch = collate([dataset[keys[0]]], dataset.labels)
    except Exception:  # of any kind: the loader raises it again, with the image's name
        return 0
    return sum(value.nbytes for value in _tensors(batch)) * len(keys)


def room_for(workers: int, batch: int, free: int) -> int:
    """The number of loader processes that fit.

    Args:
        workers: the requested number.
        batch: bytes of a batch.
        free: bytes of the shared memory.
    """
    return workers if batch == 0 else max(0, min(workers, (free // batch - IN_USE) // PREFETCH))


def shortage(fitting: int, requested: int, batch: int, free: int) -> str:
    """The message if not all loader processes fit."""
    how = f"{fitting} of {requested} loader processes are used" if fitting else "images are loaded in the main process"
    needed = _megabytes((PREFETCH * requested + IN_USE) * batch)
    return (
        f"{how}, because {SHARED_MEMORY} has {_megabytes(free)} MB free and {requested} with "
        f"batches of {_megabytes(batch)} MB need {needed} MB; give a container more: docker run --shm-size={needed + 64}m"
    )


def share(batch: Batch) -> Batch:
    """Moves a batch to shared memory. Otherwise PyTorch does so when sending it, in a thread whose errors are lost.

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
