"""Keypoints as bins along each axis."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.keypoints._keypoint_decoder import KeypointDecoder, Objects
from vertebra.features import Features, FeatureSpec, Frame
from vertebra.geometry.heatmaps import find_coordinates, gaussian_bins
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.option_range import check_range
from vertebra.losses.keypoints import bin_term
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.keypoints.labels import KeypointLabels


class SimCCOutputs(NamedTuple):
    """Raw outputs.

    Attributes:
        x_logits: (N, D, K, bins across an area's width).
        y_logits: (N, D, K, bins across its height).
        objects: whose points they are.
    """

    x_logits: Tensor
    y_logits: Tensor
    objects: Objects


class SimCC(KeypointDecoder[SimCCOutputs]):
    """Finds points by two classifications each, one over fine bins along the width and one along the height: for one
    object that fills the image, or for each box of another branch.

    Args:
        in_spec: the features that come in.
        labels: the classes and points.
        on_boxes: read another branch's boxes; set by itself where the branch has ``boxes_from``.
        levels: indices of the levels that are read; None: for a whole image the deepest, and with a neck the finest too; for
            boxes all from stride 4.
        channels: width of the convolutions; None fits the backbone (64 to 256).
        depth: convolutions before the classifications.
        split: bins in each cell of the area.
        sigma: of the Gaussians over bins that are learned, in bins.
        soft: the mean of the bins around the best one is the answer, instead of the best one itself.
        region_size: (height, width) in cells of what is cut out of the features for a box, or for the whole image.
        margin: a box is enlarged by this factor.
        jitter: in training a true box is moved and resized by up to this part of its sides.

    Raises:
        IncompatiblePartsError: there is no level to stand on, or the levels' strides do not fit each other.
        ConfigError: an option is out of range.
    """

    part: ClassVar[str] = "simcc"
    terms: ClassVar[tuple[str, ...]] = ("x", "y")
    paper: ClassVar[str] = (
        "Li et al., SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation, ECCV 2022, arXiv "
        "2107.03332 (differences: the area is cut out of the features at a fixed number of cells, whatever the image's "
        "size; decoding may take a mean over bins)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: KeypointLabels,
        *,
        on_boxes: bool = False,
        levels: list[int] | None = None,
        channels: int | None = None,
        depth: int = 2,
        split: int = 16,
        sigma: float = 3.0,
        soft: bool = True,
        region_size: tuple[int, int] = (16, 16),
        margin: float = 1.25,
        jitter: float = 0.1,
    ) -> None:
        super().__init__(
            in_spec,
            labels,
            on_boxes=on_boxes,
            levels=levels,
            channels=channels,
            region_size=region_size,
            margin=margin,
            jitter=jitter,
        )
        check_range(self.name, least=0, depth=depth)
        check_range(self.name, least=1, split=split)
        check_range(self.name, least=0.1, sigma=sigma)
        self.sigma, self.soft = sigma, soft
        self.body = nn.Sequential(*(ConvNormAct(self.width, self.width, norm="group") for _ in range(depth)))
        self.point_maps = nn.Conv2d(self.width, len(labels.points), 1)
        height, width = self.region_size
        self.x_bins = nn.Linear(height * width, width * split)
        self.y_bins = nn.Linear(height * width, height * split)

    def outputs(self, features: Features, objects: Objects) -> SimCCOutputs:
        """Logits of all bins."""
        found = self.body(self.levels.inside(features.maps, objects.areas, self.region_size))
        tokens = self.point_maps(found).flatten(2)
        tokens = tokens.reshape(objects.boxes.shape[0], -1, *tokens.shape[1:])
        return SimCCOutputs(self.x_bins(tokens), self.y_bins(tokens), objects)

    def compare(self, outputs: SimCCOutputs, ground_truth: Tensor, known: Tensor) -> dict[str, LossTerm]:
        """How far the distributions over bins are from Gaussians around the labeled points."""
        terms = {}
        for axis, (name, logits) in enumerate((("x", outputs.x_logits), ("y", outputs.y_logits))):
            bins = logits.shape[-1]
            terms[name] = bin_term(logits, gaussian_bins(ground_truth[..., axis] * bins, bins, self.sigma), known)
        return terms

    def locate(self, outputs: SimCCOutputs, frame: Frame) -> tuple[Tensor, Tensor]:
        """The coordinates that the distributions mean; a point's score is the geometric mean of its two."""
        places, scores = [], []
        for logits in (outputs.x_logits, outputs.y_logits):
            place, score = find_coordinates(logits.float().softmax(dim=-1), self.sigma, self.soft)
            places.append(place / logits.shape[-1])
            scores.append(score)
        return torch.stack(places, dim=-1), (scores[0] * scores[1]).sqrt()
