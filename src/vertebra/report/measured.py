"""What an evaluation for a report gives: metrics, and the diagnosis and pictures of each branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from vertebra.tasks.diagnosis import Diagnosis

Sides = tuple[Image.Image, Image.Image]
"""The pictures of an image with its ground truth and with its prediction."""

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels of an image."""


@dataclass(frozen=True)
class MeasuredBranch:
    """One branch on the images of an evaluation.

    Attributes:
        task: its task.
        paths: the files of its labeled images, in the order of the diagnosis.
        diagnosis: None for a task without one.
        examples: positions in ``paths`` of the images that are shown, by what they are, such as "worst".
        pictures: of these images, by their position; those that could not be drawn are missing.
        wrong_pictures: of the labels that may be wrong, by their position in the diagnosis, each by what it shows.
    """

    task: str
    paths: Sequence[Path]
    diagnosis: Diagnosis | None
    examples: Mapping[str, Sequence[int]] = field(default_factory=dict)
    pictures: Mapping[int, Sides] = field(default_factory=dict)
    wrong_pictures: Mapping[int, Mapping[str, Image.Image]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """An evaluation.

    Attributes:
        what: what was evaluated: "test", or the data set.
        images: number of images used.
        available: number of images that there are.
        scores: metrics by ``branch/metric``; empty where they were measured before.
        branches: by name.
        notes: what was left out or guessed.
    """

    what: str
    images: int
    available: int
    scores: Mapping[str, float]
    branches: Mapping[str, MeasuredBranch]
    notes: Sequence[str] = ()
