"""The contract of a neck."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from vertebra.features import Features, FeatureSpec


class Neck(nn.Module, ABC):
    """Fuses feature levels: takes features and returns features.

    A neck is built as ``Neck(in_spec, keep_levels, **options)``; its keyword-only arguments are its options. ``keep_levels``
    are the indices into its `out_spec` of the levels that are read, in any order; None keeps all. The neck then has no
    layers that only other levels need: levels coarser than the last kept one are left out of `out_spec`; other unread
    levels keep their shape, and their values are undefined. A neck must also build on the meta device, where the builder
    determines which levels are read.

    A neck need not derive from this class: any module with `out_spec` and this `forward` is one, and its constructor may
    omit ``keep_levels``.

    Attributes:
        paper: the paper that it implements.
        out_spec: what `forward` returns; the embedding passes through.
    """

    paper: ClassVar[str] = ""
    out_spec: FeatureSpec

    @abstractmethod
    def forward(self, features: Features) -> Features:
        """The features with fused levels; embedding and frame pass through."""
