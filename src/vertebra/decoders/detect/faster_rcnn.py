"""Faster R-CNN: two-stage detection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.detect._dense_head import default_width, used_levels
from vertebra.decoders.detect._nms_postprocess import NMSPostprocess, nms_postprocess
from vertebra.decoders.detect._region_proposal_network import ProposalNetwork, ProposalPostprocess, Proposed
from vertebra.decoders.detect._roi_box_head import BoxHead
from vertebra.decoders.detect.retinanet import check_anchor_sizes
from vertebra.decoders.teacher_outputs import check_same_decoder
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.anchors import level_shapes, sized_shapes
from vertebra.geometry.box_coding import CODE_WEIGHTS, decode_deltas, encode_deltas
from vertebra.geometry.points import Spacing
from vertebra.layers.option_range import check_range
from vertebra.layers.region_features import RegionFeatures
from vertebra.losses.distillation import region_term, softmax_score_logits
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.proposals import region_class_term
from vertebra.matching.iou import Match, match_by_iou, take
from vertebra.matching.sampling import sample
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets

POSITIVE_SHARE = 0.25
DEFAULT_PROPOSALS = ProposalPostprocess(max_detections=300)
DEFAULT_POSTPROCESS = NMSPostprocess(score_threshold=0.05)


class FasterRCNNOutputs(NamedTuple):
    """Raw outputs for the proposals of each image.

    Attributes:
        class_logits: (N, P, classes + 1), the background last (softmax).
        boxes: (N, P, classes, 4) float32 xyxy in canvas pixels, not cut to the image.
        proposals: (N, P, 4) xyxy, padded with 0.
        objectness: (N, P), 0 for padding.
    """

    class_logits: Tensor
    boxes: Tensor
    proposals: Tensor
    objectness: Tensor


class FasterRCNN(Decoder[FasterRCNNOutputs, DetectTargets, DetectDecoded]):
    """Finds objects in two stages: a small network proposes regions with an object of any class, and a second one predicts each
    region's class and refines its box.

    Differences from the paper: on all levels of a pyramid; widths depend on the backbone; anchors of more and smaller
    sizes.

    Args:
        channels: channels of all levels; a 1x1 convolution projects a level with other channels. None: the neck's, or from the
            backbone's.
        finest_stride: levels with a finer stride are left out.
        proposal_depth: 3x3 convolutions of the proposal network.
        anchor_scale: side of a square anchor at octave 0, in strides.
        octaves: sizes of a cell's anchors, as logarithms (base 2) of multiples of ``anchor_scale``.
        anchor_sizes: for each level the sides of square anchors in pixels, instead of these two; rounded to whole pixels.
        anchor_offset: position of an anchor's center in its cell; 0.5 is the middle, 0 the corner, as in torchvision.
        anchor_spacing: distance of anchors of neighboring cells: "stride", or "canvas", the canvas divided by the level's
            cells and rounded down, as in torchvision, which can be less on coarse levels.
        aspect_ratios: height / width of the anchors.
        region_levels: number of levels, from the finest on, that regions are read on; None: all up to stride 32.
        region_size: cells along each side of a region.
        half_pixel: whether RoIAlign uses pixel centers at half coordinates (``aligned=True``); torchvision's model does not.
        head_convs: 3x3 convolutions of the box head; the v2 model has 4.
        head_norm: their normalization.
        hidden: widths of the box head's fully connected layers; None: two of four times the levels' width.
        samples: largest number of an image's regions in the box head's loss.
        proposals: options of proposal selection.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
    scope_use: ClassVar[ScopeUse] = "some"
    postprocess: NMSPostprocess
    terms: ClassVar[tuple[str, ...]] = ("objectness", "proposal_box", "classification", "box")
    neck_defaults: ClassVar[Mapping[str, Any]] = {"extra_levels": 1, "extra": "pool"}
    selects: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Ren et al., Faster R-CNN, NeurIPS 2015, arXiv 1506.01497; on a pyramid as in Lin et al., CVPR 2017, arXiv "
        "1612.03144; the v2 form as in Li et al., Benchmarking Detection Transfer Learning, 2021, arXiv 2111.11429"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: DetectLabels,
        *,
        channels: int | None = None,
        finest_stride: int = 4,
        proposal_depth: int = 1,
        anchor_scale: float = 4.0,
        octaves: tuple[float, ...] = (0.0, 0.5),
        anchor_sizes: list[list[float]] | None = None,
        anchor_offset: float = 0.5,
        anchor_spacing: Spacing = "stride",
        aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        region_levels: int | None = None,
        region_size: int = 7,
        half_pixel: bool = True,
        head_convs: int = 0,
        head_norm: Literal["batch", "group"] = "batch",
        hidden: list[int] | None = None,
        samples: int = 256,
        proposals: ProposalPostprocess = DEFAULT_PROPOSALS,
        postprocess: NMSPostprocess = DEFAULT_POSTPROCESS,
    ) -> None:
        super().__init__(in_spec, labels)
        name = "decoder 'faster_rcnn'"
        check_range(name, minimum=1, channels=channels, proposal_depth=proposal_depth, region_size=region_size)
        check_range(name, minimum=1, region_levels=region_levels, samples=samples, aspect_ratios=len(aspect_ratios))
        check_range(name, minimum=0, head_convs=head_convs)
        check_range(name, minimum=1e-3, anchor_scale=anchor_scale)
        self.indices = _levels(in_spec, finest_stride)
        self.in_levels = tuple(self.indices)
        levels = [in_spec.levels[index] for index in self.indices]
        self.strides = [level.stride for level in levels]
        width = channels or default_width(levels)
        self.projections = nn.ModuleList(
            nn.Identity() if level.channels == width else nn.Conv2d(level.channels, width, 1) for level in levels
        )
        if anchor_sizes is None:
            shapes = level_shapes(self.strides, scale=anchor_scale, octaves=octaves, aspect_ratios=aspect_ratios)
        else:
            check_anchor_sizes(anchor_sizes, len(self.strides))
            shapes = sized_shapes(anchor_sizes, aspect_ratios)
        self.network = ProposalNetwork(width, proposal_depth, self.strides, shapes, anchor_offset, anchor_spacing)
        self.region_levels = region_levels or max(1, sum(stride <= 32 for stride in self.strides))
        self.regions = RegionFeatures(self.strides[: self.region_levels], region_size, half_pixel)
        widths = hidden if hidden is not None else [4 * width, 4 * width]
        self.head = BoxHead(width, region_size, head_convs, widths, labels.class_count, head_norm)
        self.samples = samples
        self.proposals, self.postprocess = proposals, postprocess

    def forward(self, features: Features, proposals: Proposals | None = None) -> FasterRCNNOutputs:
        """Class and boxes of the proposals."""
        maps = self._maps(features)
        proposed = self.network(maps)
        boxes, scores = self.network.choose(proposed, features.frame, self.proposals)
        return self._predict(maps, boxes, scores)

    def loss(self, features: Features, targets: DetectTargets) -> tuple[dict[str, LossTerm], FasterRCNNOutputs]:
        """Losses of the proposals, and of the box head on a sample of them.

        The outputs are those of all proposals in evaluation mode, and of the sample in training mode.
        """
        maps = self._maps(features)
        proposed: Proposed = self.network(maps)
        terms = self.network.loss(proposed, targets, self.training)
        boxes, scores = self.network.choose(proposed, features.frame, self.proposals)
        proposals, match, counted = self._sample(boxes, scores, targets)
        logits, deltas = self._heads(maps, proposals)
        classes = self.labels.class_count
        labels = torch.where(match.positive, take(targets.labels, match), classes).clamp(min=0)
        terms["classification"] = region_class_term(logits, labels, counted, targets.exhaustive)
        terms["box"] = self._box_term(deltas, proposals, take(targets.boxes, match), labels, match.positive, counted)
        if self.training:
            outputs = FasterRCNNOutputs(logits, self._decode_boxes(deltas, proposals), proposals, counted.float())
            return terms, outputs
        return terms, self._predict(maps, boxes, scores)

    def _sample(self, boxes: Tensor, scores: Tensor, targets: DetectTargets) -> tuple[Tensor, Match, Tensor]:
        """The box head's training sample: proposals (N, S, 4), their matches, and which count (N, S) bool.

        The ground-truth boxes are added to the proposals, so that there are positive ones from the first step on.
        """
        ground_truth = targets.boxes.to(boxes.dtype)
        real = torch.arange(ground_truth.shape[1], device=boxes.device) < targets.count[:, None]
        candidates = torch.cat([ground_truth, boxes], dim=1)
        valid = torch.cat([real & ~targets.crowd, scores > 0], dim=1)
        parts = [
            match_by_iou(
                image_candidates, targets.boxes[row : row + 1], targets.crowd[row : row + 1], targets.count[row : row + 1],
                background=0.5, min_anchors_per_object=0,
            )
            for row, image_candidates in enumerate(candidates)
        ]  # fmt: skip
        match = Match(*(torch.cat(values) for values in zip(*parts, strict=True)))
        match = Match(match.positive & valid, match.ignored | ~valid, match.target)
        positive, counted = sample(match, self.samples, POSITIVE_SHARE, self.training)
        order = F.pad(counted.float() + positive.float(), (0, self.samples), value=-1.0).topk(self.samples)
        rows = torch.where(order.values >= 0, order.indices, 0)
        kept = order.values > 0
        picked = Match(positive.gather(1, rows) & kept, match.ignored.gather(1, rows), match.target.gather(1, rows))
        return candidates.gather(1, rows[..., None].expand(-1, -1, 4)), picked, counted.gather(1, rows) & kept

    def distillation(self, outputs: FasterRCNNOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the scores and boxes that the teacher's box head gives to the same regions. The proposals themselves are
        not compared."""
        check_same_decoder(self, teacher)
        assert isinstance(teacher, FasterRCNN)
        proposals = outputs.proposals.detach()
        taught = teacher._predict(teacher._maps(features), proposals, outputs.objectness)
        logits, teacher_logits = softmax_score_logits(outputs.class_logits), softmax_score_logits(taught.class_logits)
        return region_term(logits, teacher_logits, outputs.boxes, taught.boxes, outputs.objectness > 0)

    def decode(self, outputs: FasterRCNNOutputs, frame: Frame) -> DetectDecoded:
        """The best boxes of each image after class-wise non-maximum suppression."""
        classes = self.labels.class_count
        scores = outputs.class_logits.float().softmax(dim=-1)[..., :classes]
        scores = torch.where((outputs.objectness > 0)[..., None], scores, 0.0).flatten(1)
        best, order = F.pad(scores, (0, self.postprocess.pre_nms_topk)).topk(self.postprocess.pre_nms_topk)
        rows = torch.where(best > 0, order, 0)
        labels = rows % classes
        boxes = outputs.boxes.flatten(1, 2).gather(1, rows[..., None].expand(-1, -1, 4))
        return nms_postprocess(boxes, best, labels, frame, self.postprocess, min_side=1e-2)

    def _maps(self, features: Features) -> list[Tensor]:
        return [project(features.maps[index]) for project, index in zip(self.projections, self.indices, strict=True)]

    def _heads(self, maps: list[Tensor], proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, R, classes + 1) and coded boxes (N, R, classes, 4) float32."""
        batch, count = proposals.shape[:2]
        logits, deltas = self.head(self.regions(maps[: self.region_levels], proposals))
        return logits.reshape(batch, count, -1), deltas.reshape(batch, count, -1, 4).float()

    def _predict(self, maps: list[Tensor], boxes: Tensor, scores: Tensor) -> FasterRCNNOutputs:
        logits, deltas = self._heads(maps, boxes)
        return FasterRCNNOutputs(logits, self._decode_boxes(deltas, boxes), boxes, scores)

    @staticmethod
    def _decode_boxes(deltas: Tensor, proposals: Tensor) -> Tensor:
        return decode_deltas(deltas / deltas.new_tensor(CODE_WEIGHTS), proposals[..., None, :])

    @staticmethod
    def _box_term(
        deltas: Tensor, proposals: Tensor, ground_truth: Tensor, labels: Tensor, positive: Tensor, counted: Tensor
    ) -> LossTerm:
        """Smooth L1 (beta 1/9) of the true class's coded box of positive regions, divided by the number of regions that count."""
        class_deltas = deltas.gather(2, labels.clamp(max=deltas.shape[2] - 1)[..., None, None].expand(-1, -1, 1, 4))[
            :, :, 0
        ]
        mask = positive[..., None]
        unit = torch.tensor([0.0, 0.0, 1.0, 1.0], device=proposals.device)
        expected = encode_deltas(torch.where(mask, ground_truth.float(), unit), torch.where(mask, proposals, unit))
        loss = F.smooth_l1_loss(
            class_deltas, expected * class_deltas.new_tensor(CODE_WEIGHTS), reduction="none", beta=1 / 9
        )
        return LossTerm(torch.where(mask, loss, 0).sum(), counted.sum().float())


def _levels(in_spec: FeatureSpec, finest_stride: int) -> list[int]:
    """Indices of the levels from a stride on; the deepest one where all have one stride (as in a plain ViT)."""
    if len(set(in_spec.strides)) == 1:
        return used_levels(in_spec, min(finest_stride, *in_spec.strides))
    indices = [index for index, stride in enumerate(in_spec.strides) if stride >= finest_stride]
    return indices or used_levels(in_spec, finest_stride)
