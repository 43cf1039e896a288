"""RT-DETR: queries start at the cells with the highest scores; no non-maximum suppression."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.base import Decoder, ScopeUse
from vertebra.decoders.detect._box_refinement import Pyramid, Refinement, RefiningLayer
from vertebra.decoders.detect._denoising_queries import NoisyQueries, group_count, noisy_queries, visibility
from vertebra.decoders.detect._dense_head import default_width, used_levels
from vertebra.decoders.detect._query_postprocess import DEFAULT_QUERY_POST, QueryPostprocess, decode_queries
from vertebra.decoders.detect._query_selection import (
    QuerySelection,
    Selection,
    away_from_edges,
    cell_boxes,
    inverse_sigmoid,
    mask_padding,
)
from vertebra.decoders.detect._set_prediction_loss import Objects, known_errors, matched_errors, objects_of
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.boxes import from_center_size
from vertebra.layers.csp import ConvNormSiLU
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells
from vertebra.layers.positional_attention import HIDDEN
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets


class RTDETROutputs(NamedTuple):
    """Raw outputs of the last layer.

    Attributes:
        class_logits: (N, Q, classes), one sigmoid per class; -100 for unused queries.
        boxes: (N, Q, 4) float32 xyxy in canvas pixels.
    """

    class_logits: Tensor
    boxes: Tensor


Layer = tuple[Tensor, Tensor]
"""Class logits (N, Q, classes) and boxes (N, Q, 4) of center and size in parts of the canvas."""


class _Run(NamedTuple):
    """Outputs of all layers: for the queries, for noisy copies of the ground truth, and at the selected cells."""

    layers: list[Layer]
    copies: list[Layer]
    start: Layer

    def outputs(self, frame: Frame) -> RTDETROutputs:
        """The last layer's, in pixels."""
        logits, boxes = self.layers[-1]
        return RTDETROutputs(logits, in_pixels(from_center_size(boxes), frame.canvas))


class RTDETR(Decoder[RTDETROutputs, DetectTargets, DetectDecoded]):
    """Finds objects with queries that start at the highest-scoring cells of all levels and refine their boxes layer by layer;
    each object is matched with one query, so there is no non-maximum suppression.

    Every layer and the selection of cells have a loss, by one-to-one matching. In training, noisy copies of the ground
    truth are refined together with the queries. Use it with encoder ``hybrid``. RT-DETRv2 differs in ``sampling`` and
    ``points``.

    Args:
        in_spec: the input features.
        labels: the classes.
        embed_dim: features of a query; None: the encoder's channels, or 128 to 256.
        heads: attention heads; must divide embed_dim.
        layers: decoder layers; the paper has 6, and 3 for its small models.
        queries: number of queries.
        hidden: hidden features of each feed-forward network; None: four times embed_dim.
        points: points that each head reads on each level, one number for all levels or one each.
        sampling: "bilinear", or "discrete" (the nearest cell), for runtimes that cannot interpolate.
        offset_scale: initial distance of the points, in parts of the box.
        dropout: in each layer.
        learned_queries: queries start from learned content instead of their cells' features.
        denoising: largest number of noisy copies of the ground truth; 0 for none.
        label_noise: half of this part of the copies' labels is replaced by random classes.
        box_noise: largest shift of the copies' sides, in parts of half the box.
        finest_stride: levels with a finer stride are left out; None: 8 if that leaves two levels, otherwise 4.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
    scope_use: ClassVar[ScopeUse] = "full"
    postprocess: QueryPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "box", "giou", "auxiliary", "denoising")
    selects: ClassVar[bool] = True
    needs_many_images: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Zhao et al., DETRs Beat YOLOs on Real-time Object Detection, CVPR 2024, arXiv 2304.08069; Lv et al., RT-DETRv2, "
        "2024, arXiv 2407.17140 (differences: any number of levels and sizes, padding hidden, fewer layers by default)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: DetectLabels,
        *,
        embed_dim: int | None = None,
        heads: int = 8,
        layers: int = 3,
        queries: int = 300,
        hidden: int | None = None,
        points: int | list[int] = 4,
        sampling: Literal["bilinear", "discrete"] = "bilinear",
        offset_scale: float = 0.5,
        dropout: float = 0.0,
        learned_queries: bool = False,
        denoising: int = 100,
        label_noise: float = 0.5,
        box_noise: float = 1.0,
        finest_stride: int | None = None,
        postprocess: QueryPostprocess = DEFAULT_QUERY_POST,
    ) -> None:
        super().__init__(in_spec, labels)
        part = "decoder 'rt_detr'"
        check_range(part, minimum=1, embed_dim=embed_dim, heads=heads, layers=layers, queries=queries, hidden=hidden)
        check_range(part, minimum=0, denoising=denoising, box_noise=box_noise, offset_scale=offset_scale)
        check_range(part, minimum=0, maximum=1, dropout=dropout, label_noise=label_noise)
        self.used = used_levels(in_spec, finest_stride)
        self.in_levels = tuple(self.used)
        levels = [in_spec.levels[index] for index in self.used]
        self.strides = [level.stride for level in levels]
        same_channels = len({level.channels for level in levels}) == 1
        self.embed_dim = embed_dim or (default_width(levels) if same_channels else max(128, default_width(levels)))
        if self.embed_dim % heads:
            raise ConfigError(f"{part}: embed_dim {self.embed_dim} must be a multiple of heads {heads}")
        points_per_level = [points] * len(levels) if isinstance(points, int) else list(points)
        if len(points_per_level) != len(levels) or min(points_per_level) < 1:
            raise ConfigError(f"{part}: 'points' needs {len(levels)} numbers of 1 or more, one per level, got {points}")
        self.denoising, self.label_noise, self.box_noise = denoising, label_noise, box_noise
        self.postprocess = postprocess
        self.project = nn.ModuleList(ConvNormSiLU(level.channels, self.embed_dim, activation=False) for level in levels)
        self.selection = QuerySelection(self.embed_dim, labels.class_count, queries)
        self.query_content = nn.Embedding(queries, self.embed_dim) if learned_queries else None
        self.label_content = nn.Embedding(labels.class_count, self.embed_dim) if denoising else None
        for table in (self.query_content, self.label_content):
            if table is not None:
                nn.init.xavier_uniform_(table.weight)
        refining = [
            RefiningLayer(
                self.embed_dim,
                heads,
                hidden or 4 * self.embed_dim,
                points=points_per_level,
                method=sampling,
                offset_scale=offset_scale,
                dropout=dropout,
            )
            for _ in range(layers)
        ]
        self.refinement = Refinement(refining, self.embed_dim, labels.class_count)

    def forward(self, features: Features, proposals: Proposals | None = None) -> RTDETROutputs:
        """Scores and boxes of the last layer."""
        return self._run(features, None).outputs(features.frame)

    def loss(self, features: Features, targets: DetectTargets) -> tuple[dict[str, LossTerm], RTDETROutputs]:
        """Varifocal loss, L1 and GIoU of the last layer's boxes; the weighted sum of all three over the other layers and
        the selected cells (auxiliary), and over all layers' noisy copies of the ground truth (denoising).

        In evaluation there are no copies, and their term is 0 with the same count as in training.
        """
        ground_truth = objects_of(targets, features.frame.canvas)
        noisy = self._noise(ground_truth) if self.training else None
        run = self._run(features, noisy)
        *earlier, last, start = [matched_errors(*layer, ground_truth) for layer in (*run.layers, run.start)]
        copies = []
        if noisy is not None:
            copies = [
                known_errors(*layer, ground_truth, noisy.target, noisy.positive, noisy.real) for layer in run.copies
            ]
        objects = ground_truth.count.sum().float()
        groups = group_count(ground_truth.labels.shape[1], self.denoising)
        copied = groups * ground_truth.count.clamp(max=self.denoising).sum().float()
        terms = {
            "classification": LossTerm(last.classification, objects),
            "box": LossTerm(last.box, objects),
            "giou": LossTerm(last.giou, objects),
            "auxiliary": LossTerm(torch.stack([errors.total() for errors in (*earlier, start)]).sum(), objects),
            "denoising": LossTerm(sum((errors.total() for errors in copies), objects.new_zeros(())), copied),
        }
        return terms, run.outputs(features.frame)

    def decode(self, outputs: RTDETROutputs, frame: Frame) -> DetectDecoded:
        """The best pairs of a query and a class."""
        return decode_queries(outputs.class_logits, outputs.boxes, frame, self.postprocess)

    def _noise(self, ground_truth: Objects) -> NoisyQueries | None:
        """Noisy copies of the ground truth; None where ``denoising`` is 0."""
        if self.denoising == 0:
            return None
        return noisy_queries(
            ground_truth.boxes,
            ground_truth.labels,
            ground_truth.count,
            classes=self.labels.class_count,
            queries=self.denoising,
            label_noise=self.label_noise,
            box_noise=self.box_noise,
        )

    def _run(self, features: Features, noisy: NoisyQueries | None) -> _Run:
        """All layers over the queries, and over noisy copies before them if there are any."""
        pyramid = self._pyramid(features)
        chosen = self._choose(pyramid, features.frame.canvas)
        content, boxes = chosen.content.detach(), chosen.boxes
        if self.query_content is not None:
            content = self.query_content.weight.expand_as(content)
        bias = torch.where(chosen.empty, HIDDEN, 0.0)[:, None, None]
        copies = 0
        if noisy is not None:
            assert self.label_content is not None
            copies = noisy.labels.shape[1]
            content = torch.cat([self.label_content(noisy.labels).to(content.dtype), content], dim=1)
            boxes = torch.cat([inverse_sigmoid(noisy.boxes), boxes], dim=1)
            bias = visibility(noisy.group, noisy.real, chosen.empty)
        layer_logits, layer_boxes = self.refinement(content, boxes.sigmoid(), pyramid, bias)
        return _Run(
            layers=[
                (mask_padding(logits[:, copies:], chosen.empty), boxes[:, copies:])
                for logits, boxes in zip(layer_logits, layer_boxes, strict=True)
            ],
            copies=[
                (logits[:, :copies], boxes[:, :copies]) for logits, boxes in zip(layer_logits, layer_boxes, strict=True)
            ],
            start=(chosen.class_logits, chosen.boxes.sigmoid()),
        )

    def _choose(self, pyramid: Pyramid, canvas: tuple[int, int]) -> Selection:
        """Selects the cells where queries start, without padding and away from the canvas' edges."""
        boxes = cell_boxes(pyramid.shapes, self.strides, canvas, pyramid.cells.device)
        chosen: Selection = self.selection(pyramid.cells, boxes, away_from_edges(boxes) & ~pyramid.padding)
        return chosen

    def _pyramid(self, features: Features) -> Pyramid:
        """The levels projected to one width, with all cells concatenated."""
        maps = [project(features.maps[index]) for index, project in zip(self.used, self.project, strict=True)]
        height, width = features.frame.canvas
        padding = [
            ~valid_cells(features.frame, level, stride).flatten(1)
            for level, stride in zip(maps, self.strides, strict=True)
        ]
        return Pyramid(
            cells=torch.cat([level.flatten(2) for level in maps], dim=2).transpose(1, 2),
            padding=torch.cat(padding, dim=1),
            shapes=[(level.shape[-2], level.shape[-1]) for level in maps],
            spans=[
                (width / (level.shape[-1] * stride), height / (level.shape[-2] * stride))
                for level, stride in zip(maps, self.strides, strict=True)
            ],
        )


def in_pixels(boxes: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) from parts of the canvas to pixels."""
    height, width = canvas
    return torch.stack(
        [side * length for side, length in zip(boxes.unbind(-1), (width, height, width, height), strict=True)], dim=-1
    )
