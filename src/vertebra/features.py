"""What passes between the parts of a model: the promise (`FeatureSpec`) and the tensors (`Features`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vertebra.errors import IncompatiblePartsError


@dataclass(frozen=True, slots=True)
class Level:
    """One feature map, as promised before any image is seen.

    Attributes:
        channels: number of channels.
        stride: image pixels per feature cell, the same in both directions.
    """

    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a part promises to give.

    Attributes:
        levels: the maps, finest first. Equal strides are legal (several levels of a plain ViT).
        embedding: width of the backbone's own pre-classifier embedding, or None where it has none.
    """

    levels: tuple[Level, ...]
    embedding: int | None = None

    def __post_init__(self) -> None:
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
                f"exactly one level at stride {stride}", "Select the level by its index, or use one tap only."
            )
        raise IncompatiblePartsError(
            f"a level at stride {stride}", "Select one of the strides that are there, or add a neck."
        )

    def require_levels(self) -> None:
        """Raise `IncompatiblePartsError` if there is no feature map at all (a backbone without aligned maps)."""
        if not self.levels:
            raise IncompatiblePartsError(
                "feature maps aligned with the image",
                "Choose another backbone: 'vertebra parts backbone' lists them with what they give.",
            )

    def ratio(self, coarse: int, fine: int) -> int:
        """How many cells of level ``fine`` one cell of level ``coarse`` spans, along one axis.

        Raises:
            IncompatiblePartsError: the strides are not multiples of each other.
        """
        big, small = self.levels[coarse].stride, self.levels[fine].stride
        if big % small:
            raise IncompatiblePartsError(
                f"strides that divide each other (here {small} and {big})", "Choose other levels of the backbone."
            )
        return big // small

    def describe(self) -> str:
        """The strides in words, for messages: ``strides 4, 8, 16, 32`` or ``stride 16 only``."""
        if not self.levels:
            return "no aligned feature maps"
        strides = sorted(set(self.strides))
        if len(strides) == 1:
            return f"stride {strides[0]} only"
        return "strides " + ", ".join(str(stride) for stride in strides)

    def with_levels(self, levels: Sequence[Level]) -> FeatureSpec:
        """The same promise with other levels; the embedding is passed through."""
        return replace(self, levels=tuple(levels))


@dataclass(frozen=True, slots=True)
class Frame:
    """The geometry of a batch.

    Attributes:
        canvas: (height, width) of the batch of canvases in pixels, read from the tensor's shape inside the graph.
            This is the canvas as it came in: the maps may cover a little more (padding to the backbone's size multiple,
            always at the right and bottom), and decoders crop back to it.
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
        embedding: (N, width) the backbone's own embedding, or None where no branch asked for it.
        frame: the geometry of the canvas.
    """

    maps: tuple[Float[Tensor, "n _ _ _"], ...]
    embedding: Float[Tensor, "n _"] | None
    frame: Frame

    def rows(self, index: Int[Tensor, " rows"]) -> Features:
        """The features of some images only.

        Args:
            index: (n,) int64, which images.
        """
        return Features(
            maps=tuple(level[index] for level in self.maps),
            embedding=None if self.embedding is None else self.embedding[index],
            frame=Frame(self.frame.canvas, self.frame.sizes[index]),
        )

    def with_maps(self, maps: Sequence[Float[Tensor, "n _ _ _"]]) -> Features:
        """The same batch with other maps; embedding and frame are passed through."""
        return replace(self, maps=tuple(maps))


class HasBoxes(Protocol):
    """Decoded outputs with boxes, those of detectors and of keypoints; the fields are those of `Proposals`."""

    @property
    def boxes(self) -> Float[Tensor, "n r 4"]: ...
    @property
    def scores(self) -> Float[Tensor, "n r"]: ...
    @property
    def labels(self) -> Int[Tensor, "n r"]: ...
    @property
    def count(self) -> Int[Tensor, " n"]: ...


class Proposals(NamedTuple):
    """Boxes that a branch hands to a branch which reads them (``boxes_from: boxes``).

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
        """The same boxes in another branch's class ids; those of a class that it does not have are left out.

        Args:
            ids: for each class here its id there, or -1.
        """
        table = torch.tensor([*ids, -1], device=self.labels.device)  # the last one is for padding, whose label is -1
        labels = table[self.labels]
        wanted = labels >= 0
        # those that stay move to the front, in their order (by topk of what never ties: ONNX knows no stable sort)
        count = labels.shape[1]
        rank = torch.where(wanted, float(count), 0.0) - torch.arange(count, device=labels.device)
        order = rank.topk(count, dim=1).indices
        labels = labels.gather(1, order)
        kept = labels >= 0
        return Proposals(
            boxes=torch.where(kept[..., None], self.boxes.gather(1, order[..., None].expand_as(self.boxes)), 0),
            scores=torch.where(kept, self.scores.gather(1, order), 0),
            labels=labels,
            count=wanted.sum(dim=1),
        )
