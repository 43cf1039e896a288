"""The numbers by which the options of a run are chosen; `vertebra.recipe.choices` and `vertebra.recipe.canvas` have the rules.

A table such as `BATCH_SIZES` has a value for each number of training images: the first row whose limit is above that number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Table = tuple[tuple[float, int], ...]


class NamedRecipe(NamedTuple):
    """The numbers of one name of ``train.recipe``.

    Attributes:
        steps: factor of the numbers of steps and epochs.
        augment: preset of the augmentation.
        canvas: factor of the sides of the canvas.
    """

    steps: float
    augment: str
    canvas: float


RECIPES = {
    "fast": NamedRecipe(steps=1 / 3, augment="light", canvas=0.75),
    "default": NamedRecipe(steps=1.0, augment="default", canvas=1.0),
    "best": NamedRecipe(steps=3.0, augment="strong", canvas=1.25),
}

# images in a step, over all processes
BATCH_SIZES: Table = ((400, 4), (2_000, 8), (math.inf, 16))
IMAGE_LEVEL_FACTOR = 2  # if all branches describe the whole image
MIN_PER_BRANCH = 2  # in each process, if images are labeled for some branches only
MIN_PER_PROCESS = 2

# steps of a run, and from them epochs
MIN_STEPS = 400
STEPS_PER_ROOT = 90  # times the square root of the number of training images, and `TaskData.steps_factor`
MIN_EPOCHS: Table = ((20_001, 10), (math.inf, 6))
MAX_EPOCHS = 300

# share of the steps in which a pretrained backbone is frozen
FROZEN_SHARE = 0.15
IMAGE_LEVEL_FROZEN_SHARE = 0.3  # if all branches describe the whole image

# factor of the learning rate for a pretrained backbone
BACKBONE_LR = 1.0
IMAGE_LEVEL_BACKBONE_LR = 0.3  # if all branches describe the whole image

# evaluations
EVALUATION_SHARE = 0.2  # maximum part of the time
EVALUATION_COST = 0.35  # time for an image, as a part of the time for a training image
MAX_EVALUATIONS = 60
MIN_EVALUATIONS = 10  # or one for each epoch, whatever they cost

# canvas
IMAGE_LEVEL_SIDE = 224  # of the square canvas, if all branches describe the whole image
LONGEST_FOR_IMAGES = 640  # longest side where nothing is known of the objects' sizes
LONGEST = 1024  # longest side where small objects need it
MAX_ENLARGEMENT = 1.5  # factor by which the canvas may exceed the median image where small objects need it
MIN_LONGEST = 256  # longest side where large objects need no more
OBJECT_QUANTILE = 0.1  # part of the objects that may be smaller on the canvas than the size below
OBJECT_PX = {"boxes": 48.0, "points": 96.0}  # by `TaskData.sized_by`: square root of an object's area, in canvas pixels
MULTIPLE = 32  # of which the sides are
MAX_MEASURED = 3_000  # images whose sizes are read

# runs with a budget of time
BUDGET_MARGIN = 0.1  # part of the budget that the first plan leaves free
ENOUGH_STEPS = 0.75  # part of the needed steps with which no concession is made
TIGHT_EVALUATION_SHARE = 0.1  # maximum part of the time for evaluations, where steps are short of time
BUDGET_FROZEN_SHARE = 0.6  # of the steps in which the backbone is frozen, where steps are short of time
BUDGET_FROZEN_GAIN = 0.85  # maximum time of a step with a frozen backbone, relative to a step without, for this share

# micro batches
MEMORY_SHARE = 0.7  # of the available memory
ACTIVATION_FACTOR = 1.3  # memory of a training step, as a multiple of the activations it saves
MAX_BYTES_PER_PIXEL = 32_000  # of the canvas, above that of any model tried; no trial where this fits

# decoders that learn slowly
MANY_IMAGES = 5_000  # enough for a decoder with ``needs_many_images`` without trained weights
