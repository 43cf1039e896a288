"""The annotations of pairs of images and mask files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_sample import sample_masks
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.paths import path_column
from vertebra.annotations.table import SPLITS, Annotations, MaskFiles, Objects
from vertebra.data.readers.class_files import class_colors, class_names
from vertebra.data.readers.mask_color_meaning import has_colors_of, meaning_of_colors
from vertebra.data.readers.mask_meaning import Meaning, meaning_of_numbers
from vertebra.data.readers.mask_pair_lists import Pairs
from vertebra.data.readers.mask_turns import mask_turns
from vertebra.errors import DataError


def mask_annotations(
    root: Path,
    pairs: Mapping[str, Pairs],
    split: str | None,
    where: Path,
    options: ReadOptions,
    notes: list[Note],
    names: tuple[str, ...] | None = None,
) -> Annotations:
    """The mask files of a split, and the category of each of their values.

    Args:
        root: folder that the pairs are relative to.
        pairs: (image, mask) of each split; the key is "" without splits.
        split: a key of the pairs; None for all.
        where: the data set, for messages.
        options: the classes that are asked for, and whether they may overlap.
        notes: of the pairs; gets notes about classes.
        names: classes of the mask values, where no file names them.

    Raises:
        DataError: there is no pair of image and mask, or a mask has a value of no class.
    """
    parts = dict(pairs) if split is None else {split: pairs[split]}
    chosen = [pair for part in parts.values() for pair in part]
    if not chosen:
        raise DataError(f"{where}: no pair of image and mask in split '{split or 'train'}'")
    all_masks = [root / mask for part in pairs.values() for _, mask in part]
    meaning = _meaning(root, [root / mask for _, mask in chosen], all_masks, options, notes, names)
    images, masks = ([pair[column] for pair in chosen] for column in (0, 1))
    turns = mask_turns(root, images, masks, notes)
    codes = [SPLITS.index(name) if name else -1 for name, part in parts.items() for _ in part]
    return Annotations(
        root=root,
        images=path_column(images),
        categories=meaning.categories,
        objects=Objects.none(),
        labels=np.zeros((0, 2), dtype=np.int64),
        masks=MaskFiles(root, path_column(masks), meaning.table, meaning.ignore_index, meaning.codes, turns),
        annotated=np.ones(len(chosen), dtype=bool),
        sizes=np.zeros((len(chosen), 2), dtype=np.int64),
        where=where,
        splits=np.array(codes, dtype=np.int8) if any(parts) else None,
        notes=notes,
    )


def _meaning(
    root: Path,
    masks: Sequence[Path],
    all_masks: Sequence[Path],
    options: ReadOptions,
    notes: list[Note],
    names: tuple[str, ...] | None,
) -> Meaning:
    """The classes of the masks: by color for color pictures, and for palettes of the colors that a file names; else by number."""
    colors, listed = class_colors(root), class_names(root)
    sample = sample_masks(all_masks, palettes=colors is not None)
    if sample.colored or (colors is not None and has_colors_of(sample, colors)):
        return meaning_of_colors(root, colors, sample, options, notes)
    in_order = listed or (names if colors is None else tuple(category.name for category in colors))
    return meaning_of_numbers(root, in_order, masks, sample, options, notes)
