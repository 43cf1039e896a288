"""Mask2Former for objects with masks."""

from __future__ import annotations

from typing import ClassVar

from vertebra.decoders.detect._query_postprocess import DEFAULT_QUERY_POST, QueryPostprocess
from vertebra.decoders.instances._query_instances import QueryInstances
from vertebra.decoders.mask2former_network import Mask2FormerNetwork
from vertebra.features import FeatureSpec
from vertebra.tasks.instances.labels import InstanceLabels


class Mask2FormerInstances(QueryInstances):
    """Mask2Former decoder for objects, without a detector: learned queries read the features inside their masks only, layer by
    layer, and each predicts one object's class and mask. Encoder 'deformable' makes its features.

    It reads the levels of strides 4 to 32, the finest one only for the resolution of the masks. Decoded masks are resampled into
    the boxes around them.

    Args:
        in_spec: the input features.
        labels: the classes.
        channels: channels of queries, cells and pixels; None: those of the levels behind an encoder or a neck, or from the
            backbone's.
        heads: attention heads; must divide ``channels``.
        layers: how many layers; the paper has 9.
        queries: how many queries; more than an image has objects.
        hidden: hidden channels of each layer's MLP; None: eight times ``channels``.
        dropout: in each layer.
        points: largest number of points at which a mask is compared with the ground truth in the loss; the paper has 12544.
        none_weight: weight of queries without an object in the classification.
        mask_cells: cells along each side of an object's box, into which its mask is resampled.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: there is no level, or strides do not divide each other.
        ConfigError: an option is out of range, or ``channels`` is not a multiple of 4 and of ``heads``.
    """

    paper: ClassVar[str] = (
        "Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, CVPR 2022, arXiv 2112.01527 "
        "(differences: six layers and fewer points by default; decoded masks have a fixed number of cells)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: InstanceLabels,
        *,
        channels: int | None = None,
        heads: int = 8,
        layers: int = 6,
        queries: int = 100,
        hidden: int | None = None,
        dropout: float = 0.0,
        points: int = 4096,
        none_weight: float = 0.1,
        mask_cells: int = 56,
        postprocess: QueryPostprocess = DEFAULT_QUERY_POST,
    ) -> None:
        name = "decoder 'mask2former_instances'"
        super().__init__(in_spec, labels, name, points, none_weight, mask_cells, postprocess)
        self.network = Mask2FormerNetwork(
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
