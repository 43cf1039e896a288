"""MaskFormer for segmentation."""

from __future__ import annotations

from typing import ClassVar

from vertebra.decoders.maskformer_network import MaskFormerNetwork
from vertebra.decoders.segment._query_segmenter import QuerySegmenter
from vertebra.features import FeatureSpec
from vertebra.tasks.segment.labels import SegmentLabels


class MaskFormer(QuerySegmenter):
    """MaskFormer decoder: learned queries read the deepest level, and each predicts a class and a mask of the pixels of a built-in
    feature pyramid.

    It reads the levels of strides 4 to 32, the finer ones only for the resolution of the masks.

    Args:
        in_spec: the input features.
        labels: the classes.
        channels: channels of queries, cells and pixels; None: those of the levels behind an encoder or a neck, or from the
            backbone's.
        heads: attention heads; must divide ``channels``.
        layers: how many layers; the paper has 6.
        queries: how many queries.
        hidden: hidden channels of each layer's MLP; None: eight times ``channels``.
        dropout: in each layer.
        points: largest number of points at which a mask is compared with the ground truth in the loss; the paper has
            all pixels.
        none_weight: weight of queries without a mask in the classification.

    Raises:
        IncompatiblePartsError: there is no level, or strides do not divide each other.
        ConfigError: an option is out of range, or ``channels`` is not a multiple of 4 and of ``heads``.
    """

    paper: ClassVar[str] = (
        "Cheng et al., Per-Pixel Classification is Not All You Need for Semantic Segmentation, NeurIPS 2021, arXiv 2107.06278 "
        "(differences: the loss is Mask2Former's, at points; masks are summed before they are resized to the canvas)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int | None = None,
        heads: int = 8,
        layers: int = 6,
        queries: int = 100,
        hidden: int | None = None,
        dropout: float = 0.0,
        points: int = 4096,
        none_weight: float = 0.1,
    ) -> None:
        name = "decoder 'maskformer'"
        super().__init__(in_spec, labels, name, points, none_weight)
        self.network = MaskFormerNetwork(
            name,
            in_spec,
            labels.class_count,
            channels=channels,
            heads=heads,
            layers=layers,
            queries=queries,
            hidden=hidden,
            dropout=dropout,
        )
        self.in_levels = self.network.in_levels
