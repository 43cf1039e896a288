"""What the segmentation decoders share: from logits of their own stride to the loss and to the canvas."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from vertebra.decoders.base import Decoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level, Proposals
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Fit, fit_to
from vertebra.layers.softmax import channel_softmax
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.targets import SegmentDecoded, SegmentTargets


class SegmentOutputs(NamedTuple):
    """Attributes:
    logits: (N, K, h, w) at the decoder's own stride.
    """

    logits: Tensor


class SegmentDecoder(Decoder[SegmentOutputs, SegmentTargets, SegmentDecoded]):
    """A decoder whose `maps` give one map of a certain width and stride; a convolution makes logits of it.

    Subclasses set ``stride`` and ``in_levels``, call `finish` with the width of what `maps` gives, and, where they offer it,
    `add_auxiliary`.

    Args:
        loss: which losses are summed.
        fit: how logits are laid over the canvas; see `vertebra.layers.resample.Fit`.
    """

    task: ClassVar[str] = "segment"
    labels: SegmentLabels
    stride: int

    def __init__(
        self, in_spec: FeatureSpec, labels: SegmentLabels, *, loss: SegmentLoss = DEFAULT_LOSS, fit: Fit = "stride"
    ) -> None:
        super().__init__(in_spec, labels)
        in_spec.require_levels()
        if labels.exclusive and labels.class_count < 2:
            raise ConfigError(
                "one exclusive class leaves nothing to decide; add the background as a class, or set exclusive: false"
            )
        loss.check(labels)
        self.losses = loss
        self.fit: Fit = fit
        self.terms = loss.terms  # type: ignore[misc]  # what is chosen is an instance's own
        self.auxiliary: AuxiliaryHead | None = None

    def finish(self, width: int, dropout: float, kernel_size: int = 1) -> None:
        """Adds the last layer."""
        self.classifier = nn.Sequential(
            nn.Dropout2d(dropout), nn.Conv2d(width, self.labels.class_count, kernel_size, padding=kernel_size // 2)
        )

    def add_auxiliary(self, weight: float, level: int | None = None) -> None:
        """Adds a small head of its own on one level, whose cross entropy helps the backbone to learn. Nothing if weight is 0.

        Call it after ``in_levels`` is set.

        Args:
            weight: factor of its loss; the papers have 0.4.
            level: index of the level; None: the second deepest, or the only one.
        """
        check_range(f"decoder '{type(self).__name__.lower()}'", least=0, auxiliary=weight)
        if weight == 0:
            return
        count = len(self.in_spec.levels)
        place = max(0, count - 2) if level is None else level
        self.auxiliary = AuxiliaryHead(self.in_spec.levels[place], place, self.labels.class_count, weight)
        self.terms = (*self.terms, "auxiliary")  # type: ignore[misc]
        if self.in_levels is not None:
            self.in_levels = tuple(sorted({*self.in_levels, place}))

    @abstractmethod
    def maps(self, features: Features) -> Tensor:
        """The one map (N, width, h, w) that the logits are made of."""

    def forward(self, features: Features, proposals: Proposals | None = None) -> SegmentOutputs:
        """Logits at the decoder's own stride."""
        return SegmentOutputs(self.classifier(self.maps(features)))

    def loss(self, features: Features, targets: SegmentTargets) -> tuple[dict[str, LossTerm], SegmentOutputs]:
        """The chosen losses at the canvas' own size, and the auxiliary head's cross entropy where there is one."""
        outputs = self(features)
        canvas = features.frame.canvas
        logits = fit_to(outputs.logits.float(), canvas, self.stride, self.fit)
        terms = self.losses(logits, targets.masks, self.labels)
        if self.auxiliary is not None:
            side = fit_to(self.auxiliary(features).float(), canvas, self.auxiliary.stride, self.fit)
            terms["auxiliary"] = self.losses.auxiliary(side, targets.masks, self.labels, self.auxiliary.weight)
        return terms, outputs

    def decode(self, outputs: SegmentOutputs, frame: Frame) -> SegmentDecoded:
        """Probabilities at the canvas' own size: softmax for exclusive classes, sigmoid for others."""
        logits = fit_to(outputs.logits, frame.canvas, self.stride, self.fit)
        return SegmentDecoded(channel_softmax(logits) if self.labels.exclusive else logits.sigmoid())


class AuxiliaryHead(nn.Module):
    """A small fully convolutional head on one level, only there to teach what lies below it.

    Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv 1612.01105, section 3.3.

    Args:
        level: what it stands on.
        place: index of that level.
        classes: how many.
        weight: factor of its loss.
    """

    def __init__(self, level: Level, place: int, classes: int, weight: float) -> None:
        super().__init__()
        self.place, self.stride, self.weight = place, level.stride, weight
        width = max(8, level.channels // 4)
        self.body = nn.Sequential(ConvNormAct(level.channels, width), nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1))

    def forward(self, features: Features) -> Tensor:
        """(N, classes, h, w)"""
        logits: Tensor = self.body(features.maps[self.place])
        return logits
