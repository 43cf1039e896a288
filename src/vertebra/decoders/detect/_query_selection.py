"""Query selection: queries start at the cells with the highest scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.detect._dense_head import PRIOR_LOGIT
from vertebra.geometry.points import cell_points

LOWEST = -1e9  # score of cells that must not be selected
EMPTY_LOGIT = -100.0  # of every class of an empty query: its probability is 0 in every precision


class Selection(NamedTuple):
    """The selected queries.

    Attributes:
        content: (N, Q, width) features of their cells; 0 where empty.
        boxes: (N, Q, 4) float32 logits (`inverse_sigmoid`) of center and size in parts of the canvas.
        class_logits: (N, Q, classes) of their cells.
        empty: (N, Q) bool, an unused query: there were fewer cells than queries.
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
        (S, 4) float32 center x, center y, width, height in parts of the canvas, all levels concatenated. Cells on
        padding have centers above 1.
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
        boxes: (S, 4) as returned by `cell_boxes`.

    Returns:
        (S,) bool.
    """
    return ((boxes > margin) & (boxes < 1 - margin)).all(dim=-1)


class BoxHead(nn.Sequential):
    """Three linear layers that predict the change of a box's logits; initially 0.

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
    """Scores every cell of every level for every class and selects the best ones as queries.

    Zhao et al., DETRs Beat YOLOs on Real-time Object Detection, CVPR 2024, arXiv 2304.08069, section 4.3: the
    score is trained to be the IoU of the box (varifocal loss), so the best cells are certain of both class and box.

    Args:
        width: features of a cell.
        classes: number of classes.
        queries: number of queries.
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
            boxes: (S, 4) initial box of each cell, center and size in parts of the canvas.
            usable: (N, S) bool, whether a cell may be selected.
        """
        features = self.read(cells)
        logits = self.score(features)
        scores = torch.where(usable, logits.float().amax(dim=-1), LOWEST)
        best, indices = F.pad(scores, (0, self.queries), value=LOWEST).topk(self.queries)
        empty = best <= LOWEST
        indices = torch.where(empty, 0, indices)
        content = torch.where(empty[..., None], 0.0, rows(features, indices))
        start = inverse_sigmoid(boxes)[indices]
        return Selection(
            content=content,
            boxes=self.box(content).float() + start,
            class_logits=mask_padding(rows(logits, indices), empty),
            empty=empty,
        )


def mask_padding(class_logits: Tensor, empty: Tensor) -> Tensor:
    """Class logits (N, Q, classes) with those of empty queries at `EMPTY_LOGIT`."""
    return torch.where(empty[..., None], EMPTY_LOGIT, class_logits)


def rows(values: Tensor, index: Tensor) -> Tensor:
    """(N, Q, D) rows of (N, S, D), by an index (N, Q)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
