"""Objects of another image, pasted by their masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vertebra.data.on_canvas import OnCanvas, larger
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec


def copy_paste(
    first: OnCanvas, second: OnCanvas, labels: Mapping[str, LabelSpec], draw: np.random.Generator
) -> OnCanvas:
    """The first image with objects of the second one, at the same position; see `vertebra.tasks.segment.mixing`.

    Args:
        first, second: the images, on canvases of one size, with one annotation each.
        labels: by branch.
        draw: chooses the objects.
    """
    ((name, annotation),) = first.annotations.items()
    mixing = task_of(annotation).mixing
    assert mixing is not None
    region, pasted = mixing.copy_paste(annotation, second.annotations[name], draw, labels.get(name))
    image = torch.where(torch.from_numpy(region), second.image, first.image)
    return OnCanvas(image, larger(first.transform, second.transform), {name: pasted})
