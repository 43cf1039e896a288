"""The contract of a neck."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from vertebra.features import Features, FeatureSpec


class Neck(nn.Module, ABC):
    """Mixes the levels: takes features and returns features.

    A neck is built as ``Neck(in_spec, keep_levels, **options)``. ``keep_levels`` are the indices into its `out_spec` of the
    levels that are read, in any order; None keeps all. The neck then neither computes nor holds what only other levels
    need: coarser levels than the last one kept are left out of `out_spec`; other unread levels keep their shape, and their
    values are undefined. Keyword-only arguments are its options. It must build on the meta device, too, where
    the builder finds out which levels are read.

    A neck by another author need not derive from this class: a module with `out_spec` and this `forward` is one, and may
    leave ``keep_levels`` out of its arguments.

    Attributes:
        paper: the paper that it follows.
        out_spec: what `forward` returns; the embedding passes through.
    """

    paper: ClassVar[str] = ""
    out_spec: FeatureSpec

    @abstractmethod
    def forward(self, features: Features) -> Features:
        """The features with mixed levels; embedding and frame are passed through."""
