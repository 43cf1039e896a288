"""Frames of videos among images with numbered names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vertebra.data.analysis.hamming_search import bit_count
from vertebra.data.analysis.source_names import ROBOFLOW, folder_key, stem_of

NUMBERED = re.compile(r"^(.*?)(\d{1,18})(\D*)$")
VIDEO_WORDS = re.compile(r"(?<![a-z])(?:frames?|videos?|vid|clips?|seq|sequences?|shots?)(?![a-z])", re.IGNORECASE)
_HINTS = ("frame", "vid", "clip", "seq", "shot")  # every video's name has one
MIN_FRAMES = 5
STILL = 10.0  # bits; neighbors that near are frames of one camera
MAX_STEP = 24.0  # bits between neighbors of a video; unrelated images have 32, with a standard deviation of 4.2
MIN_ORDER = (
    0.62  # chance that neighbors are nearer than others; measured: photographs 0.39 to 0.56, videos 0.65 to 0.88
)
ORDER_ERROR = 1.1  # by chance, this over the square root of the number of pairs is exceeded once in 1000 sequences


class FrameSequences(NamedTuple):
    """Videos among images.

    Attributes:
        codes: (n,) int64, the video of each image; -1 for none.
        numbers: (n,) int64, the number in the name; -1 for none.
        names: of the videos, such as ``clip1_*``.
        evidence: what makes them videos, as a part of a sentence.
    """

    codes: np.ndarray
    numbers: np.ndarray
    names: tuple[str, ...]
    evidence: str


def frame_sequences(
    paths: Sequence[str], hashes: np.ndarray | None = None, valid: np.ndarray | None = None
) -> FrameSequences:
    """Sequences of numbered images that are frames of videos.

    The sequences of one folder are judged together. They are videos if neighbors in the order of the numbers are nearly the same,
    or are alike and clearly more so than images far apart. Without hashes, a word such as "frame" in the name or folder decides.

    Args:
        paths: with ``/``.
        hashes: (n,) uint64; None where they are not known.
        valid: (n,) bool, False for hashes of flat images. None for all valid.
    """
    sequences: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    numbers = np.full(len(paths), -1, dtype=np.int64)
    if hashes is None and not _any_hint(paths):
        return FrameSequences(numbers, numbers, (), "")
    for row, path in enumerate(paths):
        stem = stem_of(path)
        exported = ROBOFLOW.match(stem)
        if match := NUMBERED.match(exported[1] if exported else stem):
            sequences[folder_key(path), match[1], match[3]].append(row)
            numbers[row] = int(match[2])
    folders: dict[str, list[tuple[str, np.ndarray]]] = defaultdict(list)
    for (folder, before, after), members in sequences.items():
        rows = np.array(members)
        if len(rows) >= MIN_FRAMES:
            name = f"{folder}/{before}*{after}".lstrip("/")
            folders[folder].append((name, rows[np.argsort(numbers[rows], kind="stable")]))
    codes = np.full(len(paths), -1, dtype=np.int64)
    names: list[str] = []
    for listed in folders.values():
        for name, rows in _videos(listed, hashes, valid):
            codes[rows] = len(names)
            names.append(name)
    evidence = "by a word in their names (images not compared)"
    if hashes is not None:
        evidence = "by numbered names of which neighbors are alike"
    return FrameSequences(codes, numbers, tuple(names), evidence)


def _any_hint(paths: Sequence[str]) -> bool:
    text = "\n".join(paths).lower()
    return any(hint in text for hint in _HINTS)


def _videos(
    sequences: list[tuple[str, np.ndarray]], hashes: np.ndarray | None, valid: np.ndarray | None
) -> list[tuple[str, np.ndarray]]:
    """Those of a folder's sequences that are videos: all or none with hashes, those with a word for it without."""
    if hashes is None:
        return [(name, rows) for name, rows in sequences if VIDEO_WORDS.search(name)]
    compared = [hashes[rows] if valid is None else hashes[rows[valid[rows]]] for _, rows in sequences]
    near = np.concatenate([_steps(values, 1) for values in compared])
    far = np.concatenate(
        [_steps(values, max(2, len(values) * third // 6)) for values in compared for third in (2, 3, 4)]
    )
    if len(near) < MIN_FRAMES - 1 or not len(far):
        return []
    step = float(np.median(near))
    ordered = np.sort(far)
    below = np.searchsorted(ordered, near, side="left") + np.searchsorted(ordered, near, side="right")
    order = 1 - float(below.mean()) / (2 * len(ordered))
    needed = max(MIN_ORDER, 0.5 + ORDER_ERROR / len(near) ** 0.5)
    return sequences if step <= STILL or (step <= MAX_STEP and order >= needed) else []


def _steps(values: np.ndarray, step: int) -> np.ndarray:
    """Bits in which each hash differs from that some steps later."""
    return bit_count(values[step:] ^ values[: max(len(values) - step, 0)])
