"""Images that cannot be read, or that differ from the rest of their set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vertebra.data.analysis.image_kinds import odd_images
from vertebra.data.check.report import Finding, Severity
from vertebra.data.check.scanning import Scan, ScannedSplit

UNREADABLE_CURE = "copy the files again from their source, or remove them; --fix leaves them out"
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
