"""Metrics of tracks: MOTA, IDF1 and HOTA, of MOT challenge files or of frames in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vertebra.errors import DataError
from vertebra.keywords import check_fraction, check_path, strict_keywords
from vertebra.tracking.clear import ClearCounts, clear_counts
from vertebra.tracking.hota import HotaCounts, hota_counts
from vertebra.tracking.identity import IdentityCounts, identity_counts
from vertebra.tracking.mot_text import read_mot
from vertebra.tracking.sequence_pairs import SequencePairs, TrackedFrame


class TrackingCounts(NamedTuple):
    """The counts of all tracking metrics, which add up over sequences."""

    hota: HotaCounts = HotaCounts()
    clear: ClearCounts = ClearCounts()
    identity: IdentityCounts = IdentityCounts()

    @classmethod
    def of(
        cls, ground_truth: Sequence[TrackedFrame], predicted: Sequence[TrackedFrame], match_iou: float = 0.5
    ) -> TrackingCounts:
        """The counts of a sequence.

        Args:
            ground_truth: the tracked objects of each frame.
            predicted: the predicted ones.
            match_iou: minimum IoU of a match for MOTA and IDF1; HOTA has its own.

        Raises:
            DataError: the numbers of frames differ, or an id occurs twice in a frame.
        """
        pairs = SequencePairs(ground_truth, predicted)
        return cls(hota_counts(pairs), clear_counts(pairs, match_iou), identity_counts(pairs, match_iou))

    def plus(self, other: TrackingCounts) -> TrackingCounts:
        """The counts of both."""
        return TrackingCounts(
            self.hota.plus(other.hota), self.clear.plus(other.clear), self.identity.plus(other.identity)
        )

    def metrics(self) -> dict[str, float]:
        """All metrics by name, ``hota``, ``mota`` and ``idf1`` first."""
        values = {**self.hota.metrics(), **self.clear.metrics(), **self.identity.metrics()}
        first = {name: values[name] for name in ("hota", "mota", "idf1")}
        return {**first, **values}


@strict_keywords
def evaluate_tracks(
    ground_truth: str | os.PathLike[str], predicted: str | os.PathLike[str], *, match_iou: float = 0.5
) -> dict[str, float]:
    """Metrics of tracks in MOT challenge files, all as one class: ``hota``, ``mota``, ``idf1`` and more.

    Args:
        ground_truth: a file, or a folder with a file for each sequence: ``<sequence>.txt``, or ``<sequence>/gt/gt.txt``. Boxes
            whose score is 0 do not count; the metric ``ignored`` is their number.
        predicted: a file, or a folder of files with the same names ``<sequence>.txt``.
        match_iou: minimum IoU of a match for MOTA and IDF1; HOTA uses 0.05 to 0.95.

    Returns:
        Each metric over all sequences; of several ones also of each, as ``<sequence>/<metric>``.

    Raises:
        DataError: a file is missing or damaged; the message names it.
        ConfigError: ``match_iou`` is not within 0 and 1.
    """
    check_fraction("match_iou", match_iou)
    total, ignored = TrackingCounts(), 0
    single: dict[str, float] = {}
    sequences = _sequences(check_path("ground_truth", ground_truth), check_path("predicted", predicted))
    for name, (actual_file, predicted_file) in sequences.items():
        actual, boxes = read_mot(actual_file), read_mot(predicted_file)
        counted = actual.scores != 0
        ignored += int(np.count_nonzero(~counted))
        frames = max(actual.frames.max(initial=0), boxes.frames.max(initial=0))
        counts = TrackingCounts.of(
            actual.take(np.flatnonzero(counted)).by_frame(int(frames)), boxes.by_frame(int(frames)), match_iou
        )
        total = total.plus(counts)
        if len(sequences) > 1:
            single.update({f"{name}/{metric}": value for metric, value in counts.metrics().items()})
    return {**total.metrics(), "ignored": ignored, **single}


def _sequences(ground_truth: Path, predicted: Path) -> dict[str, tuple[Path, Path]]:
    """The two files of each sequence, by its name."""
    if ground_truth.is_dir() != predicted.is_dir():
        raise DataError(
            f"{ground_truth} and {predicted} must be two files, or two folders with a file for each sequence"
        )
    if not ground_truth.is_dir():
        return {ground_truth.stem: (ground_truth, predicted)}
    actual = _by_name(ground_truth.glob("*.txt")) | {
        path.parents[1].name: path for path in sorted(ground_truth.glob("*/gt/gt.txt"))
    }
    results = _by_name(predicted.glob("*.txt"))
    if not actual:
        raise DataError(f"{ground_truth}: has no <sequence>.txt and no <sequence>/gt/gt.txt")
    missing = [name for name in actual if name not in results]
    if missing:
        raise DataError(f"{predicted / missing[0]}.txt: no such file, for {len(missing)} of {len(actual)} sequences")
    return {name: (path, results[name]) for name, path in actual.items()}


def _by_name(paths: Iterable[Path]) -> dict[str, Path]:
    return {path.stem: path for path in sorted(paths)}
