"""Two images laid over each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vertebra.data.on_canvas import OnCanvas, larger
from vertebra.recipe.augment import Augment
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec


def mixup(
    first: OnCanvas,
    second: OnCanvas,
    labels: Mapping[str, LabelSpec],
    augment: Augment,
    draw: np.random.Generator,
) -> OnCanvas:
    """The weighted mean of two images; classes become probabilities, and the boxes of both remain.

    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; for boxes: Zhang et al., Bag of Freebies for Training Object Detection
    Neural Networks, 2019, arXiv 1902.04103.

    Args:
        first, second: the images, on canvases of one size.
        labels: by branch.
        augment: with ``mixup_alpha`` and ``mixup_boxes_alpha``.
        draw: draws the weight.
    """
    tasks = [task_of(annotation) for annotation in first.annotations.values()]
    alpha = augment.mixup_alpha if all(task.image_level for task in tasks) else augment.mixup_boxes_alpha
    share = float(draw.beta(alpha, alpha))
    image = torch.lerp(second.image.float(), first.image.float(), share).round_().to(torch.uint8)
    annotations = {}
    for (name, annotation), task in zip(first.annotations.items(), tasks, strict=True):
        assert task.mixing is not None
        annotations[name] = task.mixing.mixup(annotation, second.annotations[name], share, labels.get(name))
    return OnCanvas(image, larger(first.transform, second.transform), annotations)
