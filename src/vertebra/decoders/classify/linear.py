"""The linear classifier."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.teacher_outputs import teacher_outputs
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_mean
from vertebra.losses.classification import binary_cross_entropy, cross_entropy
from vertebra.losses.distillation import soft_class_term
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.targets import ClassifyDecoded, ClassifyTargets


class LinearOutputs(NamedTuple):
    """Attributes:
    logits: (N, K).
    """

    logits: Tensor


class Linear(Decoder[LinearOutputs, ClassifyTargets, ClassifyDecoded]):
    """Linear classifier on pooled features, with optional hidden layers; one logit per class, with softmax or sigmoid.

    Args:
        hidden: features of each hidden layer; each is followed by ReLU and dropout.
        dropout: of the input and of each hidden layer.
        label_smoothing: fraction of the target probability that is spread over all classes.
        pool: "embedding" reads the backbone's embedding, "average" averages the deepest level over the image's valid cells;
            "auto" reads the embedding if there is one and the branch has no neck and no encoder.
    """

    task: ClassVar[str] = "classify"
    scope_use: ClassVar[ScopeUse] = "full"
    terms: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    labels: ClassifyLabels

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: ClassifyLabels,
        *,
        hidden: list[int] | None = None,
        dropout: float = 0.2,
        label_smoothing: float = 0.1,
        pool: Literal["auto", "embedding", "average"] = "auto",
    ) -> None:
        super().__init__(in_spec, labels)
        check_range("decoder 'linear'", minimum=0, maximum=1, dropout=dropout, label_smoothing=label_smoothing)
        check_range("decoder 'linear'", minimum=1, hidden=min(hidden or [1]))
        if not labels.multilabel and labels.class_count < 2:
            raise ConfigError("one exclusive class leaves nothing to decide; name two classes, or set multilabel: true")
        self.uses_embedding = pool == "embedding" or (pool == "auto" and in_spec.embedding is not None)
        self.uses_maps = not self.uses_embedding
        if self.uses_embedding:
            if in_spec.embedding is None:
                raise IncompatiblePartsError(
                    "the backbone's own embedding", "Set pool: average, or remove neck and encoder."
                )
            width = in_spec.embedding
        else:
            in_spec.require_levels()
            width = in_spec.levels[-1].channels
            self.in_levels = (len(in_spec.levels) - 1,)
        self.label_smoothing = label_smoothing
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        for size in hidden or []:
            layers += [nn.Linear(width, size), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            width = size
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, labels.class_count)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Features, proposals: Proposals | None = None) -> LinearOutputs:
        """One logit for each class and image."""
        return LinearOutputs(self.classifier(self.layers(self._pool(features))))

    def _pool(self, features: Features) -> Tensor:
        if self.uses_embedding:
            if features.embedding is None:
                raise RuntimeError("the backbone returned no embedding, though its out_spec has one")
            return features.embedding
        return valid_mean(features.maps[-1], self.in_spec.levels[-1].stride, features.frame)

    def loss(self, features: Features, targets: ClassifyTargets) -> tuple[dict[str, LossTerm], LinearOutputs]:
        """Cross entropy: softmax for exclusive classes, sigmoid otherwise."""
        outputs = self(features)
        smoothing = self.label_smoothing if self.training else 0.0
        if self.labels.multilabel:
            term = binary_cross_entropy(outputs.logits, targets.labels, smoothing, targets.known)
        else:
            term = cross_entropy(outputs.logits, targets.labels, smoothing)
        return {"cross_entropy": term}, outputs

    def distillation(self, outputs: LinearOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the softened probabilities, from a teacher with any classifier."""
        taught = teacher_outputs(teacher, features, outputs)
        return soft_class_term(outputs.logits, taught.logits, self.labels.multilabel)

    def decode(self, outputs: LinearOutputs, frame: Frame) -> ClassifyDecoded:
        """Softmax or sigmoid."""
        logits = outputs.logits
        return ClassifyDecoded(logits.softmax(dim=1) if not self.labels.multilabel else logits.sigmoid())
