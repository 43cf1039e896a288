"""Pictures of a model's predictions, for loggers."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

from vertebra.errors import ImageRangeWarning
from vertebra.inference.predictor import Predictor
from vertebra.model import VisionModel
from vertebra.report.example_pictures import spread


def prediction_pictures(model: VisionModel, images: list[Path], count: int) -> list[Image.Image]:
    """Pictures of a model's predictions on some of the images, one for each branch."""
    images = [image for image in images if image.is_file()]
    if not images:
        return []
    chosen = [images[row] for row in spread(len(images), count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageRangeWarning)  # the run has printed it
        results = Predictor(model, batch_size=4, skip_unreadable=True).predict(chosen)
    return [prediction.draw() for result in results for _, prediction in result.items()]
