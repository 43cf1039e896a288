"""Opens a cache of decoded images for the data sets of a run: in memory, or in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vertebra.data.augmentation.iou_crop import MIN_SIDE
from vertebra.data.free_memory import free_memory
from vertebra.data.image_cache import FACTORS, ImageCache, ImageSizes
from vertebra.data.pixel_storage import CHECKS, PIXELS, FileStorage, MemoryStorage, PixelStorage
from vertebra.data.samples import MixedData
from vertebra.errors import ConfigError, DataError, RunError
from vertebra.files import cache_folder, os_error_sentence
from vertebra.preprocess import jpeg
from vertebra.preprocess.images import image_header
from vertebra.recipe.augment import Augment
from vertebra.shards.remote import is_remote

CacheMode = Literal["memory", "disk"]

SHARE = 0.8  # of what is free
UNUSED_DAYS = 30  # after which files in the cache folder are removed
VERSION = b"1"  # of the files


def open_cache(datasets: Sequence[MixedData], mode: CacheMode, sharing: int = 1) -> str:
    """Makes data sets keep their decoded images; before loader processes begin, so that they share them.

    Args:
        datasets: all of a run.
        mode: where they are kept.
        sharing: processes on this machine that have a cache like this one; in memory each has one for itself.

    Returns:
        A message with the size of the cache.

    Raises:
        ConfigError: it does not fit, or images are at a URL.
        RunError: the cache folder cannot be written.
    """
    parts = [(data, number, _sizes(data, number)) for data in datasets for number in range(len(data.sources))]
    channels = datasets[0].channels
    size = sum(int(images.bytes_needed(channels).sum()) for _, _, images in parts)
    count = sum(int((images.sizes[:, 0] > 0).sum()) for _, _, images in parts)
    slots = sum(images.factors.size for _, _, images in parts)
    if mode == "memory":
        _check_memory(size * sharing, count)
        storage: PixelStorage = MemoryStorage(size, slots)
    else:
        storage = _on_disk(_key(parts, channels), size, slots, count)
    start = first = 0
    for data, number, images in parts:
        data.caches[number] = ImageCache(images, channels, storage, start, first)
        start += int(images.bytes_needed(channels).sum())
        first += images.factors.size
    where = "in memory" if mode == "memory" else f"in {_folder()}"
    return f"decoded images are kept {where}: up to {_size(size)} for {count} images"


def _sizes(data: MixedData, number: int) -> ImageSizes:
    """The sizes of a source's labeled images, from their headers; those that cannot be read are not kept."""
    index = data.sources[number].index
    sizes = np.zeros((len(index), 2), dtype=np.int64)
    reducible = np.zeros(len(index), dtype=bool)
    factors = np.zeros((len(index), len(FACTORS)), dtype=bool)
    for group in data.groups:
        for row in group.rows.tolist() if group.source == number else ():
            path = index.path(row)
            if is_remote(path):
                raise ConfigError(f"'train.cache' is for images on this machine, and {path} is at a URL; leave it out")
            try:
                size, reduces = image_header(path, data.channels)
            except DataError:  # reported when it is loaded
                continue
            sizes[row], reducible[row] = size, reduces and data.reduced_decoding
            factors[row] = kept_factors(data, size) if reducible[row] else [factor == 1 for factor in FACTORS]
    return ImageSizes(sizes, reducible, factors)


def kept_factors(data: MixedData, size: tuple[int, int]) -> list[bool]:
    """At which of `FACTORS` an image is decoded, as far as its augmentation determines it; other scales are not kept.

    Args:
        data: with its augmentation.
        size: (height, width) of the image.
    """
    augment = data.augment
    if not isinstance(augment, Augment) or not augment.moves:
        return [factor == 1 for factor in FACTORS]
    transform = data.resize_spec.transform(*size)
    scale = max(transform.scale_y, transform.scale_x)
    zooms = [
        augment.scale[0] / augment.stretch**0.5,
        augment.scale[1] * augment.stretch**0.5,
        augment.crop_ratio**-0.5,
        (augment.crop_ratio / augment.crop_area[0]) ** 0.5,
        *([1 / MIN_SIDE] if augment.iou_crop else []),
    ]
    whole_image, located = data.kinds_of_tasks
    chosen = [*(zooms[:2] if located else []), *(zooms[2:4] if whole_image else []), *zooms[4:]]
    least, most = (jpeg.reduction((1 / (scale * zoom),) * 2, (1, 1)) for zoom in (max(chosen), min(chosen)))
    most = FACTORS[-1] if augment.mixes else most
    return [least <= factor <= most for factor in FACTORS]


def _check_memory(size: int, count: int) -> None:
    free = free_memory()
    if free is not None and size > SHARE * free:
        raise ConfigError(
            f"'train.cache: memory' needs up to {_size(size)} for {count} images, and {_size(free)} of memory are "
            "free, of which it may take four fifths; use train.cache=disk, or leave it out"
        )


def _on_disk(key: str, size: int, slots: int, count: int) -> FileStorage:
    """Files in the cache folder, after those of other data sets were removed where they are old or need the room."""
    folder = _folder() / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = sorted((entry for entry in _folder().iterdir() if entry.name != key), key=_last_use)
        needed = size - _disk_bytes(folder)
        for entry in kept:
            old = time.time() - _last_use(entry) > 86400 * UNUSED_DAYS
            if old or needed > SHARE * shutil.disk_usage(folder).free:
                shutil.rmtree(entry, ignore_errors=True)
        free = shutil.disk_usage(folder).free
        if needed > SHARE * free:
            raise ConfigError(
                f"'train.cache: disk' needs up to {_size(needed)} for {count} images, and {_size(free)} are free in "
                f"{_folder()}, of which it may take four fifths; free some, set VERTEBRA_CACHE to a folder on another disk, or "
                "leave train.cache out"
            )
        storage = FileStorage(folder, size, slots)
        os.utime(folder / CHECKS)  # when it was last used
    except OSError as error:
        raise RunError(f"'train.cache: disk': {os_error_sentence(error, folder)}") from error
    return storage


def _key(parts: Sequence[tuple[MixedData, int, ImageSizes]], channels: int) -> str:
    """A hash of all that the pixels and their positions depend on."""
    digest = hashlib.sha256(VERSION)
    for data, number, images in parts:
        digest.update(repr((channels, data.resize_spec.scale)).encode())
        for array in (images.sizes, images.reducible, images.factors):
            digest.update(np.ascontiguousarray(array).tobytes())
        for text in _file_versions(data, number, images):
            digest.update(text.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _file_versions(data: MixedData, number: int, images: ImageSizes) -> Iterator[str]:
    """Path, time and size of each image's file, or of the archive that it is in."""
    index = data.sources[number].index
    for row in np.flatnonzero(images.sizes[:, 0]).tolist():
        path = index.path(row)
        file = next((each for each in (path, *path.parents) if each.is_file()), path)
        status = file.stat()
        yield f"{path.absolute()}\0{status.st_mtime_ns}\0{status.st_size}\0"


def _folder() -> Path:
    return cache_folder() / "images"


def _last_use(entry: Path) -> float:
    file = entry / CHECKS
    return file.stat().st_mtime if file.exists() else 0.0


def _disk_bytes(folder: Path) -> int:
    """Bytes of the disk that the pixels have already."""
    file = folder / PIXELS
    return int(getattr(file.stat(), "st_blocks", 0)) * 512 if file.exists() else 0


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{-(-size // 1_000_000)} MB"
