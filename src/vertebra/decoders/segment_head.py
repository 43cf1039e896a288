"""What the segmentation decoders share: from logits of their own stride to the loss and to the canvas."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from vertebra.decoders.base import Decoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Regions
from vertebra.layers.resample import upsample_to_canvas
from vertebra.losses.segmentation import exclusive_terms, overlapping_terms
from vertebra.losses.term import Term
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.targets import SegmentDecoded, SegmentTargets


class SegmentOutputs(NamedTuple):
    """Attributes:
    logits: (N, K, h, w) at the decoder's own stride.
    """

    logits: Tensor


class SegmentDecoder(Decoder):
    """A decoder whose `maps` give one map of a certain width and stride; a 1x1 convolution makes logits of it.

    Subclasses set ``stride`` and call `finish` with the width of what `maps` gives.
    """

    task: ClassVar[str] = "segment"
    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "dice")
    labels: SegmentLabels
    stride: int

    def __init__(self, in_spec: FeatureSpec, labels: SegmentLabels) -> None:
        super().__init__(in_spec, labels)
        in_spec.require_levels()
        if labels.exclusive and labels.class_count < 2:
            raise ConfigError(
                "one exclusive class leaves nothing to decide; add the background as a class, or set exclusive: false"
            )

    def finish(self, width: int, dropout: float) -> None:
        """Adds the last layer."""
        self.classifier = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, self.labels.class_count, 1))

    @abstractmethod
    def maps(self, features: Features) -> Tensor:
        """The one map (N, width, h, w) that the logits are made of."""

    def forward(self, features: Features, regions: Regions | None = None) -> SegmentOutputs:
        """Logits at the decoder's own stride."""
        return SegmentOutputs(self.classifier(self.maps(features)))

    def loss(self, features: Features, targets: SegmentTargets) -> tuple[dict[str, Term], SegmentOutputs]:
        """Cross entropy and the logarithmic Dice loss at the canvas' own size."""
        outputs = self(features)
        logits = upsample_to_canvas(outputs.logits.float(), self.stride, features.frame.canvas)
        terms = exclusive_terms if self.labels.exclusive else overlapping_terms
        return terms(logits, targets.masks, self.labels.ignore_index), outputs

    def decode(self, outputs: SegmentOutputs, frame: Frame) -> SegmentDecoded:
        """Probabilities at the canvas' own size: softmax for exclusive classes, sigmoid for others."""
        logits = upsample_to_canvas(outputs.logits, self.stride, frame.canvas)
        return SegmentDecoded(logits.softmax(dim=1) if self.labels.exclusive else logits.sigmoid())
