"""The contract of an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from vertebra.features import Features, FeatureSpec


class Encoder(nn.Module, ABC):
    """Replaces or adds levels, and passes the others through at their index: takes features and returns features.

    An encoder is built as ``Encoder(in_spec, **options)``, or as ``Encoder(in_spec, keep_levels, **options)`` if it can
    leave out unread levels; see `vertebra.necks.base.Neck`. An encoder need not derive from this class: any module with
    `out_spec` and this `forward` is one; without ``in_levels`` it is assumed to read all levels.

    Args:
        in_spec: the input features.

    Attributes:
        paper: the paper that it implements.
        in_levels: indices of the input levels that it reads; by default the deepest one.
        out_spec: what `forward` returns; the embedding passes through.

    Raises:
        IncompatiblePartsError: there is no level.
    """

    paper: ClassVar[str] = ""
    in_levels: tuple[int, ...]
    out_spec: FeatureSpec

    def __init__(self, in_spec: FeatureSpec) -> None:
        super().__init__()
        in_spec.require_levels()
        self.in_levels = (len(in_spec.levels) - 1,)

    @abstractmethod
    def forward(self, features: Features) -> Features:
        """The features with the new levels; embedding and frame pass through."""
