"""The interface between the parts of a model: the specification (`FeatureSpec`) and the tensors (`Features`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vertebra.errors import ConfigError, IncompatiblePartsError


@dataclass(frozen=True, slots=True)
class Level:
    """The specification of one feature map.

    Attributes:
        channels: number of channels.
        stride: image pixels per feature cell, the same in both directions.
    """

    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The specification of a part's output.

    Attributes:
        levels: the maps, finest first. Several levels may have the same stride (as in a plain ViT).
        embedding: width of the backbone's pre-classifier embedding, or None if it has none.
    """

    levels: tuple[Level, ...]
    embedding: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.levels, Sequence) or not all(isinstance(level, Level) for level in self.levels):
            raise ConfigError(f"levels must be a tuple of Level(channels, stride), got {self.levels!r}")
        strides = self.strides
        if list(strides) != sorted(strides):
            raise ValueError(f"levels must be ordered finest first, got strides {strides}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(level.channels for level in self.levels)

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each level, finest first."""
        return tuple(level.stride for level in self.levels)

    def at_stride(self, stride: int) -> int:
        """Index of the one level with this stride.

        Raises:
            IncompatiblePartsError: no level has it, or several have.
        """
        indices = [index for index, level in enumerate(self.levels) if level.stride == stride]
        if len(indices) == 1:
            return indices[0]
        if indices:
            raise IncompatiblePartsError(
                f"exactly one level at stride {stride}", "Select the level by its index, or use one level only."
            )
        raise IncompatiblePartsError(f"a level at stride {stride}", "Select one of its strides, or add a neck.")

    def require_levels(self) -> None:
        """Raise `IncompatiblePartsError` if there is no feature map at all (a backbone without aligned maps)."""
        if not self.levels:
            raise IncompatiblePartsError(
                "feature maps aligned with the image",
                "Choose another backbone: 'vertebra parts backbone' lists them with their outputs.",
            )

    def ratio(self, coarse: int, fine: int) -> int:
        """Number of cells of level ``fine`` per cell of level ``coarse``, along one axis.

        Raises:
            IncompatiblePartsError: the strides are not multiples of each other.
        """
        coarse_stride, fine_stride = self.levels[coarse].stride, self.levels[fine].stride
        if coarse_stride % fine_stride:
            raise IncompatiblePartsError(
                f"strides that divide each other (here {fine_stride} and {coarse_stride})",
                "Choose other levels of the backbone.",
            )
        return coarse_stride // fine_stride

    def describe(self) -> str:
        """The strides in words, for messages: ``strides 4, 8, 16, 32`` or ``stride 16 only``."""
        if not self.levels:
            return "no aligned feature maps"
        strides = sorted(set(self.strides))
        if len(strides) == 1:
            return f"stride {strides[0]} only"
        return "strides " + ", ".join(str(stride) for stride in strides)

    def with_levels(self, levels: Sequence[Level]) -> FeatureSpec:
        """The same specification with other levels."""
        return replace(self, levels=tuple(levels))


@dataclass(frozen=True, slots=True)
class Frame:
    """The geometry of a batch.

    Attributes:
        canvas: (height, width) of the batch of canvases in pixels, read from the tensor's shape inside the graph.
            The maps may cover a little more (padding to the backbone's size multiple, always at the right and bottom),
            and decoders crop back to it.
        sizes: (N, 2) int64, (height, width) of the valid pixels of each image, at the canvas' top left.
    """

    canvas: tuple[int, int]
    sizes: Int[Tensor, "n 2"]


@dataclass(frozen=True, slots=True)
class Features:
    """The feature maps of a batch.

    Attributes:
        maps: (N, channels, ceil(H' / stride), ceil(W' / stride)) each, in the spec's order, where (H', W') is the
            canvas padded to the backbone's size multiple.
        embedding: (N, width) the backbone's embedding, or None if no branch needs it.
        frame: the geometry of the canvas.
    """

    maps: tuple[Float[Tensor, "n _ _ _"], ...]
    embedding: Float[Tensor, "n _"] | None
    frame: Frame

    def rows(self, index: Int[Tensor, " rows"]) -> Features:
        """The features of a subset of the images.

        Args:
            index: (n,) int64, indices of the images.
        """
        return Features(
            maps=tuple(level[index] for level in self.maps),
            embedding=None if self.embedding is None else self.embedding[index],
            frame=Frame(self.frame.canvas, self.frame.sizes[index]),
        )

    def with_maps(self, maps: Sequence[Float[Tensor, "n _ _ _"]]) -> Features:
        """The same batch with other maps; embedding and frame are kept."""
        return replace(self, maps=tuple(maps))


class HasBoxes(Protocol):
    """Decoded outputs with boxes, those of detectors, instances and keypoints; the fields are those of `Proposals`."""

    @property
    def boxes(self) -> Float[Tensor, "n r 4"]: ...
    @property
    def scores(self) -> Float[Tensor, "n r"]: ...
    @property
    def labels(self) -> Int[Tensor, "n r"]: ...
    @property
    def count(self) -> Int[Tensor, " n"]: ...


class Proposals(NamedTuple):
    """Boxes of a branch, the input of a branch with ``boxes_from``.

    Attributes:
        boxes: (N, R, 4) xyxy in canvas pixels, padded with 0.
        scores: (N, R) in 0..1, padded with 0.
        labels: (N, R) int64, padded with -1.
        count: (N,) int64, how many of the R are real.
    """

    boxes: Float[Tensor, "n r 4"]
    scores: Float[Tensor, "n r"]
    labels: Int[Tensor, "n r"]
    count: Int[Tensor, " n"]  # type: ignore[assignment]  # a field, not tuple.count

    def of_classes(self, ids: Sequence[int]) -> Proposals:
        """The boxes with the class ids of another branch, without boxes of classes that it does not have.

        Args:
            ids: for each class of this branch its id in the other one, or -1.
        """
        table = torch.tensor([*ids, -1], device=self.labels.device)  # the last entry is for padding, whose label is -1
        labels = table[self.labels]
        known = labels >= 0
        # moves the kept ones to the front in their order; topk of distinct ranks, as ONNX has no stable sort
        count = labels.shape[1]
        rank = torch.where(known, float(count), 0.0) - torch.arange(count, device=labels.device)
        order = rank.topk(count, dim=1).indices
        labels = labels.gather(1, order)
        kept = labels >= 0
        return Proposals(
            boxes=torch.where(kept[..., None], self.boxes.gather(1, order[..., None].expand_as(self.boxes)), 0),
            scores=torch.where(kept, self.scores.gather(1, order), 0),
            labels=labels,
            count=known.sum(dim=1),
        )
