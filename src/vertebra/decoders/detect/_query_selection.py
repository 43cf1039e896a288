"""Where a set predictor's queries start: at the cells that are surest to show an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.detect._dense_head import PRIOR_LOGIT
from vertebra.geometry.points import cell_points

LOWEST = -1e9  # the score of what must not be chosen
EMPTY_LOGIT = -100.0  # of every class of an empty query: its probability is 0 in every precision


class Selection(NamedTuple):
    """The queries that were chosen.

    Attributes:
        content: (N, Q, width) what is seen at their cells; 0 where empty.
        boxes: (N, Q, 4) float32 logits (`inverse_sigmoid`) of center and size in parts of the canvas.
        class_logits: (N, Q, classes) of their cells.
        empty: (N, Q) bool, there were fewer cells than queries: this one stands for nothing.
    """

    content: Tensor
    boxes: Tensor
    class_logits: Tensor
    empty: Tensor


def inverse_sigmoid(values: Tensor, eps: float = 1e-5) -> Tensor:
    """The logits of numbers in 0..1, kept ``eps`` away from both ends."""
    values = values.clamp(min=0, max=1)
    return (values.clamp(min=eps) / (1 - values).clamp(min=eps)).log()


def cell_boxes(
    shapes: Sequence[tuple[int, int]], strides: Sequence[int], canvas: tuple[int, int], device: torch.device
) -> Tensor:
    """A square box (in parts of the canvas) at the middle of every cell: 0.05 at stride 8, 0.1 at 16 and so on.

    Args:
        shapes: (height, width) of each level's map.
        strides: of each level.
        canvas: (height, width) in pixels.

    Returns:
        (S, 4) float32 center x, center y, width, height in parts of the canvas, all levels behind each other. Cells that
        lie on padding have their centers beyond 1.
    """
    boxes = []
    for (height, width), stride in zip(shapes, strides, strict=True):
        points = cell_points(height, width, stride, device=device)
        x, y = points[:, 0] / canvas[1], points[:, 1] / canvas[0]
        side = torch.full_like(x, min(0.05 * stride / 8, 0.9))
        boxes.append(torch.stack([x, y, side, side], dim=-1))
    return torch.cat(boxes)


def away_from_edges(boxes: Tensor, margin: float = 0.01) -> Tensor:
    """Which boxes can be starting points: all four numbers at least ``margin`` away from 0 and 1.

    Args:
        boxes: (S, 4) as `cell_boxes` gives them.

    Returns:
        (S,) bool.
    """
    return ((boxes > margin) & (boxes < 1 - margin)).all(dim=-1)


class BoxHead(nn.Sequential):
    """Three linear layers that tell by how much the logits of a box are moved; at first by nothing.

    Args:
        width: features in.
    """

    def __init__(self, width: int) -> None:
        last = nn.Linear(width, 4)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)


def class_head(width: int, classes: int) -> nn.Linear:
    """A linear layer to class logits that start at a probability of 0.01."""
    layer = nn.Linear(width, classes)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.constant_(layer.bias, PRIOR_LOGIT)
    return layer


class QuerySelection(nn.Module):
    """Scores every cell of every level for every class and takes the best ones as queries.

    Zhao et al., DETRs Beat YOLOs on Real-time Object Detection, CVPR 2024, arXiv 2304.08069, section 4.3: because the
    score is taught how well its box fits (varifocal loss), the best cells are those that are sure of class and place.

    Args:
        width: features of a cell.
        classes: how many.
        queries: how many are chosen.
    """

    def __init__(self, width: int, classes: int, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.read = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.score = class_head(width, classes)
        self.box = BoxHead(width)

    def forward(self, cells: Tensor, boxes: Tensor, usable: Tensor) -> Selection:
        """The best cells of each image, best first.

        Args:
            cells: (N, S, width).
            boxes: (S, 4) where each cell's box starts, center and size in parts of the canvas.
            usable: (N, S) bool, whether a cell may be chosen.
        """
        seen = self.read(cells)
        logits = self.score(seen)
        scores = torch.where(usable, logits.float().amax(dim=-1), LOWEST)
        best, places = F.pad(scores, (0, self.queries), value=LOWEST).topk(self.queries)
        empty = best <= LOWEST
        places = torch.where(empty, 0, places)
        content = torch.where(empty[..., None], 0.0, rows(seen, places))
        start = inverse_sigmoid(boxes)[places]
        return Selection(
            content=content,
            boxes=self.box(content).float() + start,
            class_logits=mask_padding(rows(logits, places), empty),
            empty=empty,
        )


def mask_padding(class_logits: Tensor, empty: Tensor) -> Tensor:
    """Class logits (N, Q, classes) with those of empty queries at `EMPTY_LOGIT`."""
    return torch.where(empty[..., None], EMPTY_LOGIT, class_logits)


def rows(values: Tensor, index: Tensor) -> Tensor:
    """(N, Q, D) rows of (N, S, D), by an index (N, Q)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
