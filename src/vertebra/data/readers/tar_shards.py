"""Tar shards in WebDataset's form: archives of images, each with its annotations beside it, on disk or at a URL.

A sample is an image ``000001.jpg`` and one of: ``000001.json`` with objects and labels, as ``vertebra data convert --to tar``
writes it; ``000001.cls``, the number or name of its class; ``000001.txt``, the name of its class. The images stay in the archives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.paths import path_column
from vertebra.annotations.table import IGNORED, SPLITS, Annotations, Category, MaskFiles
from vertebra.annotations.values import whole_number
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.shard_list import ShardList, has_shards, shard_list, why_no_shards
from vertebra.data.readers.shard_samples import SampleReader
from vertebra.data.readers.tool_objects import Problems
from vertebra.errors import DataError
from vertebra.shards.tar_files import Shard, read_shard


class TarShardReader(AnnotationReader):
    """Tar shards."""

    name = "tar_shards"
    summary = "tar shards in WebDataset's form (train-000000.tar …), also at a URL"
    suffixes = (".tar",)
    holds = frozenset({"labels", "boxes", "outlines", "points", "masks"})

    def looks_like(self, path: Path) -> bool:
        """Whether a folder has tar files of images with annotations, or a path names some."""
        return has_shards(path)

    def refusal(self, path: Path) -> str:
        """What is wrong with the tar files of a folder."""
        return why_no_shards(path)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits in ``dataset.json``, or those that archives are named as."""
        named = set(shard_list(path).splits)
        return tuple(split for split in SPLITS if split in named)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The samples of all archives of a split; of an archive that cannot be read none is left out silently.

        Raises:
            DataError: an archive or its index file is missing or damaged, or no sample has annotations.
        """
        shards = shard_list(path)
        numbers = [number for number, each in enumerate(shards.splits) if split is None or each == split]
        contents = [(number, read_shard(shards.path(number))) for number in numbers]
        problems = Problems()
        for number, shard in contents:
            for which, names in shard.left_out.items():
                for name in names:
                    problems.add("member", which, "left out", f"{shards.archives[number]}/{name}")
        annotations = _annotations(shards, contents, split is None, problems)
        if not (len(annotations.objects) or len(annotations.labels) or annotations.masks) and problems.dropped:
            raise DataError(f"{path}: none of its annotations can be read ({'; '.join(map(str, problems.notes()))})")
        return annotations


def _annotations(
    shards: ShardList, contents: Sequence[tuple[int, Shard]], with_splits: bool, problems: Problems
) -> Annotations:
    builder = AnnotationBuilder(shards.root, shards.where)
    categories = _categories(shards)
    texts = [text for _, shard in contents for sample in shard.samples if (text := sample.label) is not None]
    names = shards.names if categories is None else [category.name for category in categories]
    for category in categories or _listed(names, texts):
        builder.category(category)
    reader = SampleReader(builder, names, _are_classes(contents), problems)
    groups: list[int] = []
    masks: list[str] = []
    for number, shard in contents:
        archive, split = shards.archives[number], shards.splits[number]
        code = SPLITS.index(split) if split and with_splits else -1
        for sample in shard.samples:
            groups.append(reader.add(sample, archive, code))
            masks.append(f"{archive}/{sample.mask}" if sample.mask else "")
    annotations = replace(builder.build(), notes=problems.notes(), dropped=problems.dropped)
    if any(group >= 0 for group in groups):
        known = np.array(groups, dtype=np.int64)
        single = np.flatnonzero(known < 0)
        known[single] = known.max() + 1 + np.arange(len(single))
        annotations = replace(annotations, groups=known)
    meaning = shards.dataset.get("masks")
    if any(masks) and isinstance(meaning, Mapping):
        return replace(annotations, masks=_masks(shards, masks, meaning))
    if any(masks):
        for mask in filter(None, masks):
            problems.add("mask", "whose values no dataset.json names", "left out", mask)
        return replace(annotations, notes=problems.notes())
    return annotations


def _listed(names: Sequence[str] | None, labels: Sequence[str]) -> list[Category]:
    """The classes of a list of names, or else those that are numbers, in their order."""
    if names is not None:
        return [Category(name, number) for number, name in enumerate(dict.fromkeys(names))]
    numbers = {whole_number(text) for text in labels}
    if None in numbers:
        return []
    return [Category(str(number), number) for number in sorted(number for number in numbers if number is not None)]


def _are_classes(contents: Sequence[tuple[int, Shard]]) -> bool:
    """Whether the texts of samples are names of classes rather than captions: one line, and most of them several times."""
    texts = [sample.text.strip() for _, shard in contents for sample in shard.samples if sample.text is not None]
    if not texts:
        return False
    return all(0 < len(text) <= 100 and "\n" not in text for text in texts) and len(set(texts)) <= max(
        2, len(texts) // 2
    )


def _categories(shards: ShardList) -> list[Category] | None:
    """The classes of ``dataset.json``; None without one.

    Raises:
        DataError: an entry is wrong.
    """
    if not shards.dataset:
        return None
    try:
        return [_category(entry) for entry in shards.dataset["classes"]]
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise DataError(f"{shards.where}: the classes in dataset.json are damaged; write it anew") from None


def _category(entry: Mapping[str, Any]) -> Category:
    name, color, flips = entry["name"], entry.get("color"), entry.get("flip_pairs")
    if not isinstance(name, str) or not isinstance(entry.get("id"), (int, str, type(None))):
        raise ValueError("no name")
    return Category(
        name,
        entry.get("id"),
        str(entry.get("supercategory") or ""),
        tuple(str(point) for point in entry.get("points") or ()),
        tuple(_pair(pair) for pair in entry.get("skeleton") or ()),
        None if color is None else (int(color[0]), int(color[1]), int(color[2])),
        None if flips is None else tuple(_pair(pair) for pair in flips),
        None if entry.get("is_thing") is None else bool(entry["is_thing"]),
    )


def _pair(pair: Sequence[Any]) -> tuple[int, int]:
    first, second = pair
    return int(first), int(second)


def _masks(shards: ShardList, files: Sequence[str], meaning: Mapping[str, Any]) -> MaskFiles:
    """The mask files, with the meaning of their values in ``dataset.json``.

    Raises:
        DataError: it is damaged.
    """
    try:
        codes = meaning.get("codes")
        categories = np.array(meaning["classes"], dtype=np.int32).reshape(-1)
        known = None if codes is None else np.array(codes, dtype=np.int32).reshape(-1)
        segments, ignore_index = bool(meaning.get("segments")), int(meaning["ignore_index"])
        count = len(shards.dataset["classes"])
        needed = 0 if segments else 257 if known is None else len(known) + 1
        if (
            len(categories) < needed
            or categories.max(initial=0) >= max(1, count)
            or categories.min(initial=0) < IGNORED
        ):
            raise ValueError("a table of another length")
        if known is not None and (np.diff(known) <= 0).any():
            raise ValueError("colors out of order")
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(f"{shards.where}: the entry of masks in dataset.json is damaged; write it anew") from None
    return MaskFiles(shards.root, path_column(files), categories, ignore_index, known, segments=segments)
