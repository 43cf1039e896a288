"""The segmentations of a COCO file as `Shapes`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.segmentations import FARTHEST, MIN_NUMBERS, Segmentation, parse_segmentation
from vertebra.annotations.shapes import Shapes
from vertebra.data.readers.coco_json import is_segmented, without_collection
from vertebra.errors import DataError

CHUNK = 256  # segmentations that are decoded at a time: their numbers fit the processor's cache
_EMPTY = msgspec.Raw(b"[]")
_outlines = msgspec.json.Decoder(list[list[float]])
_all_outlines = msgspec.json.Decoder(list[list[list[float]]])


def read_shapes(raw: Sequence[Any], ids: Sequence[Any], owners: Sequence[str], file: Path) -> Shapes:
    """The shapes of annotations.

    Args:
        raw: their segmentations, not decoded (`msgspec.Raw`) or decoded.
        ids: of the annotations, for messages.
        owners: the names of their images, for notes.
        file: for messages.

    Raises:
        DataError: a segmentation is neither outlines nor run lengths.
    """
    parts: list[Shapes] = []
    short: list[str] = []
    odd: list[str] = []
    for start in range(0, len(raw), CHUNK):
        with without_collection():
            shapes, others = _plain_outlines(raw[start : start + CHUNK])
        parsed = [_parsed(raw[start + number], ids[start + number], file) for number in others]
        for number, entry in zip(others, parsed, strict=True):
            short += [owners[start + number]] * entry.short
            odd += [owners[start + number]] * entry.odd
        if parsed:
            order = np.arange(len(shapes))
            order[others] = len(shapes) + np.arange(len(others))
            shapes = Shapes.concatenated([shapes, Shapes.joined(parsed)]).take(order)
        parts.append(shapes)
    notes = []
    if short:
        notes.append(Note.of("outline", "of fewer than three points", "dropped", short))
    if odd:
        notes.append(Note.of("outline", "with an odd number of coordinates", "read without the last one", odd))
    shapes = Shapes.concatenated(parts) if parts else Shapes.none(0)
    return replace(shapes, notes=tuple(notes))


def _plain_outlines(chunk: Sequence[Any]) -> tuple[Shapes, list[int]]:
    """The shapes of segmentations that are lists of sound outlines, and the numbers of the others, which are empty there."""
    decoded, others = _decoded(chunk)
    counts = np.fromiter(map(len, decoded), dtype=np.int64, count=len(decoded))
    outlines = list(chain.from_iterable(decoded))
    lengths = np.fromiter(map(len, outlines), dtype=np.int64, count=len(outlines))
    points = np.fromiter(chain.from_iterable(outlines), dtype=np.float64, count=int(lengths.sum()))
    wrong = np.flatnonzero((lengths < MIN_NUMBERS) | (lengths % 2 == 1))
    far = np.abs(points) > FARTHEST
    if far.any():
        wrong = np.concatenate([np.repeat(np.arange(len(outlines)), lengths)[far], wrong])
    if len(wrong):
        unsound = np.repeat(np.arange(len(chunk)), counts)[wrong]
        left = set(unsound.tolist())
        shapes, more = _plain_outlines([_EMPTY if number in left else entry for number, entry in enumerate(chunk)])
        return shapes, sorted({*more, *left})
    none = np.zeros(len(chunk) + 1, dtype=np.int64)
    no_runs, no_text = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    sizes = np.zeros((len(chunk), 2), dtype=np.int32)
    shapes = Shapes(points, _offsets(lengths), _offsets(counts), no_runs, none, no_text, none, sizes)
    return shapes, sorted(others)


def _decoded(chunk: Sequence[Any]) -> tuple[list[list[list[float]]], set[int]]:
    """The numbers of the segmentations that are lists of lists of them, and the numbers of the others, which are empty there."""
    try:
        decoded = _all_outlines.decode(b"[" + b",".join(chunk) + b"]")
        if len(decoded) == len(chunk):
            return decoded, set()
    except (TypeError, ValueError, RecursionError):  # of msgspec, and of lone surrogates
        pass
    decoded = []
    others: set[int] = set()
    for number, entry in enumerate(chunk):
        try:
            decoded.append(_outlines.decode(entry))
        except (TypeError, ValueError, RecursionError):  # of msgspec, and of lone surrogates
            decoded.append([])
            others.add(number)
    return decoded, others


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _parsed(entry: Any, key: Any, file: Path) -> Segmentation:
    try:
        if not is_segmented(entry):
            return Segmentation()
        return parse_segmentation(json.loads(bytes(entry)) if isinstance(entry, msgspec.Raw) else entry)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file}: a 'segmentation' is neither outlines nor run lengths, that of annotation {str(key)[:60]} "
            f"({str(error)[:100]}); remove or correct it"
        ) from None
