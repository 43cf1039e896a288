"""Images that cannot be read, or that differ from the rest of their set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vertebra.data.analysis.image_kinds import odd_images
from vertebra.data.check.report import Finding, Severity
from vertebra.data.check.scanning import Scan, ScannedSplit
from vertebra.preprocess.number_range import RangeUse

UNREADABLE_CURE = "copy the files again from their source, or remove them; --fix leaves them out"
RANGE_CURE = "state the range of all images with 'scale' in the config (train.scale), such as scale: [0, 4095]"
SEVERITY: dict[str, Severity] = {"gray": "info", "color": "info", "alpha": "info", "white": "info", "tiny": "info"}
CURES = {
    "black": "see whether the exposure or the file is wrong, and remove those that show nothing",
    "white": "see whether the exposure or the file is wrong, and remove those that show nothing",
    "flat": "see whether the file is wrong, and remove those that show nothing",
    "blurred": "remove them, unless the model is to work on such images",
    "tiny": "thumbnails are often left among images by mistake; remove them",
    "bits": "save all images with the same number of bits, or state their range in the config",
}


def unreadable(part: ScannedSplit) -> Iterator[Finding]:
    """Images of a split that cannot be decoded."""
    root = part.opened.images.root
    broken = [(name, facts.error) for name, facts in zip(part.names, part.facts, strict=True) if facts.error]
    if broken:
        reasons = [without_root(reason, root) for _, reason in broken]
        files = tuple(name for name, _ in broken)
        yield Finding.of(
            "unreadable",
            "error",
            "image",
            "cannot be read",
            reasons,
            UNREADABLE_CURE,
            files=files,
            split=part.opened.name,
        )


def number_range(parts: Sequence[ScannedSplit]) -> Iterator[Finding]:
    """Images of more than 8 bits that use a small part of their range, or whose range is not known."""
    use = RangeUse.joined([part.numbers for part in parts] or [RangeUse()])
    small_part = use.small_part()
    if small_part is not None:
        message, cure = small_part
        yield Finding("number_range", "warning", message, use.deep, cure=cure)
    unknown = {
        name: without_root(facts.ambiguous, part.opened.images.root)
        for part in parts
        for name, facts in zip(part.names, part.facts, strict=True)
        if facts.ambiguous
    }
    if unknown:
        which, reasons = "cannot be brought to 8 bits", list(unknown.values())
        yield Finding.of("number_range", "warning", "image", which, reasons, RANGE_CURE, files=tuple(unknown))


def odd(scan: Scan) -> Iterator[Finding]:
    """Images that are nearly black, blurred, tiny, or of another kind than most."""
    rows = np.flatnonzero(scan.readable)
    for group in odd_images(scan.statistics[rows]):
        names = [scan.names[rows[row]] for row in group.rows]
        severity = SEVERITY.get(group.kind, "warning")
        yield Finding.of(group.kind, severity, "image", group.reason, names, CURES.get(group.kind, ""))


def without_root(message: str, root: object) -> str:
    """A message with paths relative to the data set."""
    return message.replace(f"{root}/", "")
