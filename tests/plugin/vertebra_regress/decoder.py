"""A decoder of the task."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from vertebra.decoders.base import Decoder
from vertebra.features import Features, FeatureSpec, Frame
from vertebra.layers.padding import valid_mean
from vertebra.losses.loss_term import LossTerm
from vertebra_regress.data import RegressTargets
from vertebra_regress.types import RegressLabels


class Values(NamedTuple):
    """Attributes:
    values: (N, K).
    """

    values: Tensor


class RegressLinear(Decoder):
    """One number for each name, linear in the mean of the deepest level; learns by the absolute error.

    Args:
        scale: factor of the numbers.
    """

    task = "regress"
    terms = ("l1",)

    def __init__(self, in_spec: FeatureSpec, labels: RegressLabels, *, scale: float = 1.0) -> None:
        super().__init__(in_spec, labels)
        in_spec.require_levels()
        self.scale, self.in_levels = scale, (len(in_spec.levels) - 1,)
        self.head = nn.Linear(in_spec.levels[-1].channels, labels.class_count)

    def forward(self, features: Features, regions: Any = None) -> Values:
        pooled = valid_mean(features.maps[-1], self.in_spec.levels[-1].stride, features.frame)
        return Values(self.scale * self.head(pooled))

    def loss(self, features: Features, targets: RegressTargets) -> tuple[dict[str, LossTerm], Values]:
        outputs = self(features)
        apart = (outputs.values - targets.values).abs()
        return {"l1": LossTerm(apart.sum(), apart.new_tensor(apart.numel()))}, outputs

    def decode(self, outputs: Values, frame: Frame) -> Values:
        return outputs
