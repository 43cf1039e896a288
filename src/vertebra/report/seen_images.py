"""Training images as the network sees them: on the canvas, augmented, with their annotations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from vertebra.data.samples import MixedData, Sample, SampleKey
from vertebra.errors import DataError
from vertebra.report.example_pictures import fitted
from vertebra.report.html_page import Picture
from vertebra.tasks import task_of

LARGEST = 320  # pixels of the longer side of a picture


def seen_images(data: MixedData, keys: Iterable[SampleKey], count: int = 12) -> list[Picture]:
    """Pictures of samples; those that cannot be used are left out.

    Args:
        data: the training data, with their augmentation.
        keys: of the samples, such as those of the first step.
        count: at most so many.
    """
    pictures = []
    for key, _ in zip(keys, range(count), strict=False):
        try:
            sample = data[key]
        except DataError:  # named where the data are read
            continue
        branch, picture = draw_sample(sample, data.labels)
        pictures.append(
            Picture(
                fitted(picture, LARGEST), f"{sample.origin.path.name} ({branch})" if branch else sample.origin.path.name
            )
        )
    return pictures


def draw_sample(sample: Sample, labels: Any) -> tuple[str, Image.Image]:
    """The image of a sample with the annotation that shows most, and the branch that this is for; empty for none.

    Args:
        sample: on the canvas.
        labels: of each branch.
    """
    pixels = np.ascontiguousarray(sample.image.numpy().transpose(1, 2, 0))
    channels = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    picture = Image.fromarray(np.ascontiguousarray(channels))
    for branch in sorted(sample.targets, key=lambda name: task_of(sample.targets[name]).image_level):
        annotation = sample.targets[branch]
        return branch, task_of(annotation).data.draw(annotation, labels[branch], picture)
    return "", picture
