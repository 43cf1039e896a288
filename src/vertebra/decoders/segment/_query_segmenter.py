"""The base class of segmentation decoders whose queries predict a class and a mask each."""

from __future__ import annotations

from typing import Any, ClassVar

from vertebra.decoders.base import Decoder, ScopeUse
from vertebra.decoders.mask_queries import QueryMaskNetwork, class_scores
from vertebra.decoders.mask_query_loss import MASK_QUERY_TERMS, QueryMasks, mask_query_terms
from vertebra.decoders.mask_targets import ClassMasks
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import fit_to
from vertebra.layers.softmax import channel_softmax
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.targets import SegmentDecoded, SegmentTargets


class QuerySegmenter(Decoder[QueryMasks, SegmentTargets, SegmentDecoded]):
    """A decoder whose network predicts a class and a mask for each query; a class has the sum of the masks.

    Subclasses set ``network`` and ``in_levels``.

    Args:
        points: at which a mask is compared with the ground truth in the loss.
        none_weight: weight of queries without a mask in the classification.
    """

    task: ClassVar[str] = "segment"
    terms: ClassVar[tuple[str, ...]] = MASK_QUERY_TERMS
    scope_use: ClassVar[ScopeUse] = "full"
    needs_many_images: ClassVar[bool] = True
    labels: SegmentLabels
    network: QueryMaskNetwork

    def __init__(self, in_spec: FeatureSpec, labels: SegmentLabels, name: str, points: int, none_weight: float) -> None:
        super().__init__(in_spec, labels)
        check_range(name, minimum=4, points=points)
        check_range(name, minimum=0, maximum=1, none_weight=none_weight)
        if not labels.multilabel and labels.class_count < 2:
            raise ConfigError(
                "one exclusive class leaves nothing to decide; add the background as a class, or set multilabel: true"
            )
        self.points, self.none_weight = points, none_weight

    def forward(self, features: Features, proposals: Proposals | None = None) -> QueryMasks:
        """The classes and masks of the last layer."""
        outputs: QueryMasks = self.network(features)[-1]
        return outputs

    def loss(self, features: Features, targets: SegmentTargets) -> tuple[dict[str, LossTerm], QueryMasks]:
        """Cross entropy of the classes, binary cross entropy and Dice of the masks, of the last layer and of all before it; each
        class of an image is one mask."""
        layers = self.network(features, every_layer=True)
        masks = ClassMasks.of(targets, self.labels)
        sizes, stride = features.frame.sizes, self.network.stride
        options: dict[str, Any] = {"points": self.points, "none_weight": self.none_weight, "random": self.training}
        terms = mask_query_terms(layers, masks, sizes, stride, **options)
        return terms, layers[-1]

    def decode(self, outputs: QueryMasks, frame: Frame) -> SegmentDecoded:
        """Probabilities at the canvas size, see `vertebra.decoders.mask_queries.class_scores`."""
        multilabel = self.labels.multilabel
        logits = fit_to(class_scores(outputs, multilabel=multilabel), frame.canvas, self.network.stride)
        return SegmentDecoded(logits.sigmoid() if multilabel else channel_softmax(logits))
