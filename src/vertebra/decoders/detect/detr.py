"""DETR: a fixed set of learned queries, each of which is one object or no object."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.base import Decoder, ScopeUse
from vertebra.decoders.detect._query_postprocess import DEFAULT_QUERY_POST, QueryPostprocess, decode_exclusive_queries
from vertebra.decoders.detect._set_prediction_loss import matched_exclusive_errors, objects_of
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.boxes import from_center_size
from vertebra.layers.cross_attention import QueryLayer
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import nearest_valid_cells
from vertebra.layers.position_encoding import scaled_sine_position
from vertebra.layers.positional_attention import PostNormLayer
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets


class DETROutputs(NamedTuple):
    """Raw outputs of the last layer.

    Attributes:
        class_logits: (N, Q, classes + 1), the last for "no object" (softmax).
        boxes: (N, Q, 4) float32 xyxy in canvas pixels.
    """

    class_logits: Tensor
    boxes: Tensor


class DETR(Decoder[DETROutputs, DetectTargets, DetectDecoded]):
    """Finds objects with a fixed set of learned queries that attend to the deepest level; each object is matched with one
    query, so there is no non-maximum suppression. It needs long training (the paper's 300 to 500 epochs on COCO) or
    trained weights.

    A transformer encoder over the level's cells; a transformer decoder with self-attention of the queries and attention to
    the cells. Every decoder layer has a loss, by one-to-one matching. Boxes are relative to the image without its padding,
    and attention to the padding is masked. Coarse levels lose small objects; on a small data set `rt_detr` and the dense
    detectors converge many times faster.

    Args:
        in_spec: the input features.
        labels: the classes.
        embed_dim: features of a cell and of a query; None: from the backbone's channels, at least 128 (256 for ResNet-50).
        heads: attention heads; must divide embed_dim.
        encoder_layers: layers of the transformer encoder; the paper has 6.
        layers: layers of the transformer decoder; the paper has 6.
        queries: largest number of objects in an image.
        hidden: hidden features of each feed-forward network; None: four times embed_dim (the paper has eight).
        dropout: in each layer; the paper has 0.1.
        none_weight: weight of queries without an object in the classification loss; others have 1.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range, or embed_dim is no multiple of 4 and of the heads.
    """

    task: ClassVar[str] = "detect"
    scope_use: ClassVar[ScopeUse] = "full"
    needs_many_images: ClassVar[bool] = True
    postprocess: QueryPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "box", "giou", "auxiliary_classification", "auxiliary_box")
    paper: ClassVar[str] = (
        "Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv 2005.12872 (differences: one and "
        "three layers, narrower networks and no dropout by default)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: DetectLabels,
        *,
        embed_dim: int | None = None,
        heads: int = 8,
        encoder_layers: int = 1,
        layers: int = 3,
        queries: int = 100,
        hidden: int | None = None,
        dropout: float = 0.0,
        none_weight: float = 0.1,
        postprocess: QueryPostprocess = DEFAULT_QUERY_POST,
    ) -> None:
        super().__init__(in_spec, labels)
        in_spec.require_levels()
        part = "decoder 'detr'"
        check_range(part, minimum=1, embed_dim=embed_dim, heads=heads, layers=layers, queries=queries, hidden=hidden)
        check_range(part, minimum=0, encoder_layers=encoder_layers)
        check_range(part, minimum=0, maximum=1, dropout=dropout, none_weight=none_weight)
        self.embed_dim = embed_dim or default_channels(in_spec, minimum=128)
        if self.embed_dim % heads or self.embed_dim % 4:
            raise ConfigError(f"{part}: embed_dim {self.embed_dim} must be a multiple of 4 and of heads {heads}")
        deepest = in_spec.levels[-1]
        self.in_levels = (len(in_spec.levels) - 1,)
        self.stride, self.none_weight, self.postprocess = deepest.stride, none_weight, postprocess
        inner = hidden or 4 * self.embed_dim
        self.project = nn.Conv2d(deepest.channels, self.embed_dim, 1)
        self.cell_layers = nn.ModuleList(
            PostNormLayer(self.embed_dim, heads, inner, dropout, nn.ReLU()) for _ in range(encoder_layers)
        )
        self.query_position = nn.Embedding(queries, self.embed_dim)
        self.query_layers = nn.ModuleList(QueryLayer(self.embed_dim, heads, inner, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(self.embed_dim)
        for parameter in (*self.cell_layers.parameters(), *self.query_layers.parameters()):
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.classify = nn.Linear(self.embed_dim, labels.class_count + 1)
        self.box = nn.Sequential(
            nn.Linear(self.embed_dim, self.embed_dim),
            nn.ReLU(),
            nn.Linear(self.embed_dim, self.embed_dim),
            nn.ReLU(),
            nn.Linear(self.embed_dim, 4),
        )

    def forward(self, features: Features, proposals: Proposals | None = None) -> DETROutputs:
        """Scores and boxes of the last layer."""
        return self._outputs(*self._predict(self._run(features)[-1]), features.frame)

    def loss(self, features: Features, targets: DetectTargets) -> tuple[dict[str, LossTerm], DETROutputs]:
        """Softmax cross entropy, L1 and GIoU of the last layer, and the same of the layers before it (auxiliary)."""
        ground_truth = objects_of(targets, features.frame.sizes)
        layers = [self._predict(queries) for queries in self._run(features)]
        layer_errors = [matched_exclusive_errors(*layer, ground_truth, self.none_weight) for layer in layers]
        *earlier, (last, weight) = layer_errors
        count = ground_truth.count.sum().float()
        nothing = count.new_zeros(())
        terms = {
            "classification": LossTerm(last.classification, weight),
            "box": LossTerm(last.box, count),
            "giou": LossTerm(last.giou, count),
            # all layers have the same number of matches, and so the same weight
            "auxiliary_classification": LossTerm(
                sum((errors.classification for errors, _ in earlier), nothing), weight
            ),
            "auxiliary_box": LossTerm(sum((errors.box + errors.giou for errors, _ in earlier), nothing), count),
        }
        return terms, self._outputs(*layers[-1], features.frame)

    def decode(self, outputs: DETROutputs, frame: Frame) -> DetectDecoded:
        """Each query's best class; the best queries."""
        return decode_exclusive_queries(outputs.class_logits, outputs.boxes, frame, self.postprocess)

    def _run(self, features: Features) -> list[Tensor]:
        """(N, Q, embed_dim) queries after each layer."""
        deepest = self.project(features.maps[-1])
        inside = nearest_valid_cells(features.frame, deepest, self.stride)
        position = scaled_sine_position(inside, self.embed_dim, deepest)
        visible = inside.flatten(1)[:, None, None]
        cells = deepest.flatten(2).transpose(1, 2)
        for layer in self.cell_layers:
            cells = layer(cells, position, visible)
        query_position = self.query_position.weight.to(cells.dtype).expand(cells.shape[0], -1, -1)
        queries, layer_outputs = torch.zeros_like(query_position), []
        for layer in self.query_layers:
            queries = layer(queries, query_position, cells, position, visible)
            layer_outputs.append(self.norm(queries))
        return layer_outputs

    def _predict(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (N, Q, classes + 1) and boxes (N, Q, 4) float32, center and size in parts of the image."""
        return self.classify(queries), self.box(queries).float().sigmoid()

    def _outputs(self, class_logits: Tensor, boxes: Tensor, frame: Frame) -> DETROutputs:
        sides = frame.sizes.flip(-1).repeat(1, 2).to(boxes.dtype)
        return DETROutputs(class_logits, from_center_size(boxes) * sides[:, None])
