"""The base class of decoders of the instances task whose queries predict a class and a mask each."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.decoders.base import Decoder
from vertebra.decoders.detect._query_postprocess import QueryPostprocess
from vertebra.decoders.mask_queries import QueryMaskNetwork, mask_quality
from vertebra.decoders.mask_query_loss import MASK_QUERY_TERMS, QueryMasks, mask_query_terms
from vertebra.decoders.mask_targets import BoxedMasks
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.boxes import clip_boxes
from vertebra.geometry.point_samples import values_at
from vertebra.layers.option_range import check_range
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.targets import InstanceDecoded, InstanceTargets


class QueryInstances(Decoder[QueryMasks, InstanceTargets, InstanceDecoded]):
    """A decoder whose network predicts a class and a mask for each query; each query is one object.

    Subclasses set ``network`` and ``in_levels``.

    Args:
        points: at which a mask is compared with the ground truth in the loss.
        none_weight: weight of queries without an object in the classification.
        mask_cells: along each side of an object's box, into which its mask is resampled.
        postprocess: options of decoding.
    """

    task: ClassVar[str] = "instances"
    terms: ClassVar[tuple[str, ...]] = MASK_QUERY_TERMS
    needs_many_images: ClassVar[bool] = True
    labels: InstanceLabels
    network: QueryMaskNetwork
    postprocess: QueryPostprocess

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: InstanceLabels,
        name: str,
        points: int,
        none_weight: float,
        mask_cells: int,
        postprocess: QueryPostprocess,
    ) -> None:
        super().__init__(in_spec, labels)
        check_range(name, minimum=4, points=points, mask_cells=mask_cells)
        check_range(name, minimum=0, maximum=1, none_weight=none_weight)
        self.points, self.none_weight = points, none_weight
        self.mask_cells, self.postprocess = mask_cells, postprocess

    def forward(self, features: Features, proposals: Proposals | None = None) -> QueryMasks:
        """The classes and masks of the last layer."""
        outputs: QueryMasks = self.network(features)[-1]
        return outputs

    def loss(self, features: Features, targets: InstanceTargets) -> tuple[dict[str, LossTerm], QueryMasks]:
        """Cross entropy of the classes, binary cross entropy and Dice of the masks, of the last layer and of all before it."""
        layers = self.network(features, every_layer=True)
        masks, sizes, stride = BoxedMasks.of(targets), features.frame.sizes, self.network.stride
        options: dict[str, Any] = {"points": self.points, "none_weight": self.none_weight, "random": self.training}
        terms = mask_query_terms(layers, masks, sizes, stride, **options)
        return terms, layers[-1]

    def decode(self, outputs: QueryMasks, frame: Frame) -> InstanceDecoded:
        """The pairs of a query and a class with the highest scores, the class's probability times the mean probability of the
        mask's cells; boxes are those around the masks."""
        stride, limit = self.network.stride, self.postprocess.max_detections
        quality, logits = mask_quality(outputs.mask_logits, frame, stride)
        boxes = clip_boxes(boxes_of_masks(logits, stride), frame.sizes)
        valid = ((boxes[..., 2:] - boxes[..., :2]) > 0).all(dim=-1)
        shares = outputs.class_logits.float().softmax(dim=-1)[..., :-1]
        scores = torch.where(valid[..., None], shares * quality[..., None], 0.0)
        top, pairs = F.pad(scores.flatten(1), (0, limit)).topk(limit)
        real = top > self.postprocess.score_threshold
        pairs = torch.where(real, pairs, 0)
        queries = torch.div(pairs, shares.shape[-1], rounding_mode="floor")
        chosen_boxes = boxes.gather(1, queries[..., None].expand(-1, -1, 4))
        chosen = logits.gather(1, queries[..., None, None].expand(-1, -1, *logits.shape[-2:]))
        masks = self._in_boxes(chosen, chosen_boxes).sigmoid()
        return InstanceDecoded(
            masks=torch.where(real[..., None, None], masks, 0.0),
            boxes=torch.where(real[..., None], chosen_boxes, 0.0),
            scores=torch.where(real, top, 0.0),
            labels=torch.where(real, pairs % shares.shape[-1], -1),
            count=real.sum(dim=1),
        )

    def _in_boxes(self, logits: Tensor, boxes: Tensor) -> Tensor:
        """(N, D, S, S) the logits of maps (N, D, h, w) at the centers of equal cells of boxes (N, D, 4)."""
        shares = (torch.arange(self.mask_cells, device=boxes.device) + 0.5) / self.mask_cells
        sides = boxes[..., 2:] - boxes[..., :2]
        x, y = (boxes[..., axis, None] + shares * sides[..., axis, None] for axis in (0, 1))
        count = self.mask_cells
        grid = torch.stack([x[:, :, None].expand(-1, -1, count, -1), y[..., None].expand(-1, -1, -1, count)], dim=-1)
        return values_at(logits, grid.flatten(2, 3), self.network.stride).reshape(*boxes.shape[:2], count, count)


def boxes_of_masks(logits: Tensor, stride: int) -> Tensor:
    """The boxes around masks, to a part of a cell: where the logits, linear between the centers of cells, cross 0.

    Args:
        logits: (N, Q, h, w).
        stride: pixels in a cell.

    Returns:
        (N, Q, 4) xyxy in canvas pixels; 0 for masks without a cell above 0.
    """
    left, right = _extent(logits.amax(dim=-2))
    top, bottom = _extent(logits.amax(dim=-1))
    boxes = torch.stack([left, top, right, bottom], dim=-1) * stride
    return torch.where((logits.amax(dim=(-2, -1)) > 0)[..., None], boxes, 0.0)


def _extent(profile: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last crossing of 0 in (N, Q, L), in cells from the start; undefined where nothing is above 0."""
    length = profile.shape[-1]
    cells = torch.arange(length, device=profile.device)
    inside = profile > 0
    first = torch.where(inside, cells, length - 1).amin(dim=-1, keepdim=True)
    last = torch.where(inside, cells, 0).amax(dim=-1, keepdim=True)
    start = first + 0.5 - _inner_share(profile, first, first - 1)
    end = last + 0.5 + _inner_share(profile, last, last + 1)
    return start[..., 0], end[..., 0]


def _inner_share(profile: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """Distance in cells from the center of a cell above 0 to where the values cross 0 toward its neighbor; 0.5 at the border."""
    length = profile.shape[-1]
    high = profile.gather(-1, inner).clamp(min=1e-6)
    low = profile.gather(-1, outer.clamp(0, length - 1)).clamp(max=0)
    return torch.where((outer >= 0) & (outer < length), high / (high - low), 0.5)
