"""The base class of the segmentation decoders: loss and decoding from logits at the decoder's stride."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.teacher_outputs import teacher_outputs
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level, Proposals
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells
from vertebra.layers.resample import Fit, fit_to
from vertebra.layers.softmax import channel_softmax
from vertebra.losses.distillation import soft_pixel_term
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.targets import SegmentDecoded, SegmentTargets


class SegmentOutputs(NamedTuple):
    """Attributes:
    logits: (N, K, h, w) at the decoder's stride.
    """

    logits: Tensor


class SegmentDecoder(Decoder[SegmentOutputs, SegmentTargets, SegmentDecoded]):
    """A decoder whose `maps` returns one map, which a convolution turns into logits.

    Subclasses set ``stride`` and ``in_levels``, call `finish` with the channels of that map, and optionally `add_auxiliary`.

    Args:
        loss: the losses that are summed.
        fit: how logits are resized to the canvas; see `vertebra.layers.resample.Fit`.
    """

    task: ClassVar[str] = "segment"
    scope_use: ClassVar[ScopeUse] = "full"
    labels: SegmentLabels
    stride: int

    def __init__(
        self, in_spec: FeatureSpec, labels: SegmentLabels, *, loss: SegmentLoss = DEFAULT_LOSS, fit: Fit = "stride"
    ) -> None:
        super().__init__(in_spec, labels)
        in_spec.require_levels()
        if not labels.multilabel and labels.class_count < 2:
            raise ConfigError(
                "one exclusive class leaves nothing to decide; add the background as a class, or set multilabel: true"
            )
        loss.check(labels)
        self.losses = loss
        self.fit: Fit = fit
        self.terms = loss.terms  # type: ignore[misc]  # the chosen losses differ between instances
        self.auxiliary: AuxiliaryHead | None = None

    def finish(self, width: int, dropout: float, kernel_size: int = 1) -> None:
        """Adds the last layer."""
        self.classifier = nn.Sequential(
            nn.Dropout2d(dropout), nn.Conv2d(width, self.labels.class_count, kernel_size, padding=kernel_size // 2)
        )

    def add_auxiliary(self, weight: float, level: int | None = None) -> None:
        """Adds an auxiliary head on one level, whose cross entropy improves the training of the backbone; none if weight is 0.

        Call it after ``in_levels`` is set.

        Args:
            weight: factor of its loss; 0.4 in the papers.
            level: index of the level; None: the second deepest, or the only one.
        """
        check_range(f"decoder '{type(self).__name__.lower()}'", minimum=0, auxiliary=weight)
        if weight == 0:
            return
        count = len(self.in_spec.levels)
        index = max(0, count - 2) if level is None else level
        self.auxiliary = AuxiliaryHead(self.in_spec.levels[index], index, self.labels.class_count, weight)
        self.terms = (*self.terms, "auxiliary")  # type: ignore[misc]
        if self.in_levels is not None:
            self.in_levels = tuple(sorted({*self.in_levels, index}))

    @abstractmethod
    def maps(self, features: Features) -> Tensor:
        """The map (N, channels, h, w) that the classifier turns into logits."""

    def forward(self, features: Features, proposals: Proposals | None = None) -> SegmentOutputs:
        """Logits at the decoder's stride."""
        return SegmentOutputs(self.classifier(self.maps(features)))

    def loss(self, features: Features, targets: SegmentTargets) -> tuple[dict[str, LossTerm], SegmentOutputs]:
        """The chosen losses at the canvas size, and the auxiliary head's cross entropy if there is one."""
        outputs = self(features)
        canvas = features.frame.canvas
        logits = fit_to(outputs.logits.float(), canvas, self.stride, self.fit)
        terms = self.losses(logits, targets.masks, self.labels, targets.exhaustive)
        if self.auxiliary is not None:
            auxiliary_logits = fit_to(self.auxiliary(features).float(), canvas, self.auxiliary.stride, self.fit)
            terms["auxiliary"] = self.losses.auxiliary(
                auxiliary_logits, targets.masks, self.labels, self.auxiliary.weight, targets.exhaustive
            )
        return terms, outputs

    def distillation(self, outputs: SegmentOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the softened probabilities of all pixels inside the image, from a teacher with any segmentation decoder:
        at the decoder's stride if the teacher has the same, else at the canvas size."""
        frame, multilabel = features.frame, self.labels.multilabel
        taught = teacher_outputs(teacher, features, outputs)
        assert isinstance(teacher, SegmentDecoder)
        logits, teacher_logits, stride = outputs.logits.float(), taught.logits.float(), self.stride
        if logits.shape != teacher_logits.shape:
            logits = fit_to(logits, frame.canvas, self.stride, self.fit)
            teacher_logits = fit_to(teacher_logits, frame.canvas, teacher.stride, teacher.fit)
            stride = 1
        return soft_pixel_term(logits, teacher_logits, valid_cells(frame, logits, stride), multilabel)

    def decode(self, outputs: SegmentOutputs, frame: Frame) -> SegmentDecoded:
        """Probabilities at the canvas size: softmax for exclusive classes, sigmoid otherwise."""
        logits = fit_to(outputs.logits, frame.canvas, self.stride, self.fit)
        return SegmentDecoded(channel_softmax(logits) if not self.labels.multilabel else logits.sigmoid())


class AuxiliaryHead(nn.Module):
    """A small fully convolutional head on one level, for a deep supervision loss.

    Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv 1612.01105, section 3.3.

    Args:
        level: the level that it reads.
        index: index of that level.
        classes: how many classes.
        weight: factor of its loss.
    """

    def __init__(self, level: Level, index: int, classes: int, weight: float) -> None:
        super().__init__()
        self.index, self.stride, self.weight = index, level.stride, weight
        width = max(8, level.channels // 4)
        self.body = nn.Sequential(ConvNormAct(level.channels, width), nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1))

    def forward(self, features: Features) -> Tensor:
        """(N, classes, h, w)"""
        logits: Tensor = self.body(features.maps[self.index])
        return logits
