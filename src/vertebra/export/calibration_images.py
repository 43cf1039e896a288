"""Real images for an export: what int8 is calibrated with, and what every file is compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vertebra.errors import ConfigError, DataError, RunError
from vertebra.evaluation.measured_data import DataChoice
from vertebra.inference.io.inputs import list_images
from vertebra.inference.io.video import is_video
from vertebra.messages import say
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.training.labeled_data import open_chosen

MAX_IMAGES = 128  # images; more change little


def calibration_images(source: str | Path | None, model: VisionModel, data: str | Path | None = None) -> list[Path]:
    """At most 128 images, drawn with a fixed seed.

    Args:
        source: the run folder or model file that the model is from; None for none.
        model: what it holds.
        data: a folder of images or a data set; None for the images that the run was trained on. If they are not known or not
            there, that is printed.

    Raises:
        DataError: ``data`` has no image.
    """
    try:
        opened = open_chosen(source, model_info(model), model.config, "train", DataChoice(data))[1]
        files = [part.index.path(row) for part in opened.sources for row in range(len(part.index))]
    except (ConfigError, DataError, RunError) as error:
        if data is None:
            say(f"no real images to compare with, only synthetic ones ({error}); name some: --calibrate, or --images")
            return []
        files = [Path(image) for image in list_images(data) if not is_video(image)]
    order = np.random.default_rng(0).permutation(len(files))[:MAX_IMAGES]
    return [Path(files[row]) for row in sorted(order.tolist())]
