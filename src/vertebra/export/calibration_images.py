"""Real images for an export: for the calibration of int8, and for the comparison of every file with its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vertebra.errors import ConfigError, DataError, RunError
from vertebra.evaluation.measured_data import DataChoice
from vertebra.inference.io.inputs import list_images
from vertebra.inference.io.video import is_video
from vertebra.messages import emit
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.training.labeled_data import open_chosen

MAX_IMAGES = 128  # more images change the calibration little


def calibration_images(source: str | Path | None, model: VisionModel, data: str | Path | None = None) -> list[Path]:
    """At most 128 images, drawn with a fixed seed.

    Args:
        source: the run folder or model file of the model, or None.
        model: the loaded model.
        data: a folder of images or a data set; None for the run's training images. If these are unknown or missing, a message
            is printed.

    Raises:
        DataError: ``data`` has no image.
    """
    try:
        dataset = open_chosen(source, model_info(model), model.config, "train", DataChoice(data))[1]
        files = [source.index.path(row) for source in dataset.sources for row in range(len(source.index))]
    except (ConfigError, DataError, RunError) as error:
        if data is None:
            emit(
                f"no real images to compare with, only synthetic ones ({error}); give some: images=... (--calibrate, or --images)"
            )
            return []
        files = [Path(image) for image in list_images(data) if not is_video(image)]
    order = np.random.default_rng(0).permutation(len(files))[:MAX_IMAGES]
    return [Path(files[row]) for row in sorted(order.tolist())]
