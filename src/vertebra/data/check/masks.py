"""Masks with lossy compression, soft borders, many ignored pixels, or specks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vertebra.data.check.report import Finding
from vertebra.data.check.scanning import ScannedSplit

MAX_IGNORED = 0.5  # share of all pixels, above which their number is a warning
NOTED_IGNORED = 0.01
MANY_NUMBERED = 8  # classes without a name
RARE = 0.005  # share of all pixels that a class of soft borders has
SPECK = 4  # pixels
MAX_SPECKS = 0.1  # share of the images with specks
LOSSY_CURE = "JPEG changes the values; export the masks again as PNG"
SOFT_CURE = (
    "these are borders that were smoothed or compressed: save masks without anti-aliasing as PNG, or name the classes in "
    "classes.txt"
)
SPECK_CURE = "stray values, or borders that were resized by averaging; resize masks with nearest neighbor"


def mask_findings(part: ScannedSplit, task: str) -> Iterator[Finding]:
    """What is wrong with the masks of a split."""
    known = [(name, facts) for name, facts in part.with_task(task) if facts.pixel_counts is not None]
    if not known:
        return
    where = {"split": part.opened.name, "task": task}
    lossy = [name for name, facts in known if facts.lossy]
    if lossy:
        yield Finding.of("lossy_masks", "warning", "mask", "compressed with loss", lossy, LOSSY_CURE, **where)
    counts = np.stack([facts.pixel_counts for _, facts in known if facts.pixel_counts is not None])
    totals = counts.sum(axis=0)
    yield from _ignored(part, task, int(totals[-1]), int(totals.sum()))
    classes = part.opened.indices[task].labels[task].classes
    if _soft_borders(classes, totals[:-1]):
        message = (
            f"{len(classes)} classes that nobody named, most of them with hardly a pixel: {', '.join(classes[:12])} …"
        )
        yield Finding("soft_masks", "error", message, len(classes), classes, SOFT_CURE, **where)
    specks = np.asarray(np.logical_and(counts[:, :-1] > 0, counts[:, :-1] <= SPECK).any(axis=1))
    if specks.mean() > MAX_SPECKS:
        names = [name for (name, _), speck in zip(known, specks.tolist(), strict=True) if speck]
        which = f"with a class of {SPECK} pixels or fewer"
        yield Finding.of("specks", "warning", "mask", which, names, SPECK_CURE, **where)


def _ignored(part: ScannedSplit, task: str, ignored: int, total: int) -> Iterator[Finding]:
    share = ignored / max(total, 1)
    if share >= NOTED_IGNORED:
        message = f"{share:.0%} of the pixels are ignored: they count neither in the loss nor in the metrics"
        cure = "if they are a class, name it, and set another --ignore-index" if share > MAX_IGNORED else ""
        severity = "warning" if share > MAX_IGNORED else "info"
        yield Finding("ignored_pixels", severity, message, ignored, (), cure, part.opened.name, task)  # type: ignore[arg-type]


def _soft_borders(classes: tuple[str, ...], totals: np.ndarray) -> bool:
    """Whether numbered classes are values between those of the real classes."""
    numbered = all(name.isdecimal() for name in classes)
    rare = totals < RARE * max(int(totals.sum()), 1)
    return numbered and len(classes) > MANY_NUMBERED and bool(rare.mean() > 0.5)
