"""What four numbers of a box mean, judged by whether they give boxes inside their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONVENTIONS = ("pixel xyxy", "pixel xywh", "normalized cxcywh", "normalized xyxy", "normalized xywh")
MIN_FIT = 0.95  # share of the boxes that a reading must fit
MIN_CONFIDENCE = 0.95
ERROR_RATE = 0.02  # of wrong boxes in a data set that is read rightly
EDGE_PX = 2.0  # how far a box may reach out of its image
EDGE_NORMALIZED = 0.01


@dataclass(frozen=True)
class BoxReading:
    """How boxes can be read.

    Attributes:
        fits: for each of `CONVENTIONS`, the share of boxes that have an area and lie in their image.
        consistent: the conventions that fit nearly all boxes, the best first.
        verdict: the convention, or None where several are as likely, or none fits.
        confidence: the probability of the best convention, 0 to 1.
    """

    fits: dict[str, float]
    consistent: tuple[str, ...]
    verdict: str | None
    confidence: float

    def __str__(self) -> str:
        if self.verdict:
            return f"{self.verdict} (fits {self.fits[self.verdict]:.1%} of the boxes)"
        if not self.consistent:
            best = max(self.fits, key=self.fits.__getitem__)
            return (
                f"no convention fits; {best} fits {self.fits[best]:.1%} of the boxes"
                if any(self.fits.values())
                else ("no convention fits")
            )
        return " or ".join(self.consistent)


def box_convention(boxes: np.ndarray, sizes: np.ndarray) -> BoxReading:
    """Which conventions four numbers for each box may follow.

    A wrong reading puts some boxes outside their image or gives them no area, and each such box makes it less likely. For boxes
    that are spread evenly, each reading fits a quarter of the boxes of another; twenty boxes are mostly enough. Boxes that fit
    several readings, such as small ones in the corner, leave it open.

    Args:
        boxes: (m, 4), as they are in the file; boxes with NaN or infinite numbers are left out.
        sizes: (m, 2), height and width in pixels of each box's image.
    """
    boxes, sizes = (
        np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        np.asarray(sizes, dtype=np.float64).reshape(-1, 2),
    )
    finite = np.isfinite(boxes).all(axis=1)
    boxes, sizes = boxes[finite], sizes[finite]
    if not len(boxes):
        return BoxReading(dict.fromkeys(CONVENTIONS, 0.0), (), None, 0.0)
    right = np.stack([_fits(boxes, sizes, convention) for convention in CONVENTIONS])
    shares = right.mean(axis=1)
    wrong = (~right).sum(axis=1).astype(np.float64)
    scores = wrong * np.log(ERROR_RATE) + (len(boxes) - wrong) * np.log(1 - ERROR_RATE)
    likely = np.exp(scores - scores.max())
    likely /= likely.sum()
    fits = {convention: float(share) for convention, share in zip(CONVENTIONS, shares, strict=True)}
    order = sorted(range(len(CONVENTIONS)), key=lambda number: (-shares[number], number))
    consistent = tuple(CONVENTIONS[number] for number in order if shares[number] >= MIN_FIT)
    best = int(likely.argmax())
    sure = likely[best] >= MIN_CONFIDENCE and shares[best] >= MIN_FIT
    return BoxReading(fits, consistent, CONVENTIONS[best] if sure else None, float(likely[best]))


def convention_mismatch(boxes: np.ndarray, sizes: np.ndarray, read_as: str) -> str | None:
    """A sentence where boxes follow another convention than that by which they are read, such as "seems to be pixel xywh …".

    Args:
        boxes, sizes: as for `box_convention`.
        read_as: one of `CONVENTIONS`.

    Raises:
        ValueError: there is no such convention.
    """
    if read_as not in CONVENTIONS:
        raise ValueError(f"'{read_as}' is no box convention; there are: {', '.join(CONVENTIONS)}")
    reading = box_convention(boxes, sizes)
    if reading.verdict in (None, read_as):
        return None
    share = 1 - reading.fits[read_as]
    return f"seems to be {reading}, but is read as {read_as}, which puts {share:.1%} of them out of their images or without area"


def _fits(boxes: np.ndarray, sizes: np.ndarray, convention: str) -> np.ndarray:
    """(m,) bool: which boxes have an area and lie in their image, if they are read by a convention."""
    unit, _, order = convention.partition(" ")
    limits = sizes[:, ::-1] if unit == "pixel" else np.ones_like(sizes)
    edge = EDGE_PX if unit == "pixel" else EDGE_NORMALIZED
    first, second = boxes[:, :2], boxes[:, 2:]
    if order == "xywh":
        second = first + second
    elif order == "cxcywh":
        first, second = first - second / 2, first + second / 2
    inside = (first >= -edge) & (second > first) & (second <= limits + edge)
    if unit == "pixel":  # a box of numbers below 1 would lie in the first pixel
        inside &= second > 1 + EDGE_NORMALIZED
    return np.asarray(inside.all(axis=1))
