"""Keypoints by coordinate classification."""

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
        objects: the objects that the points belong to.
    """

    x_logits: Tensor
    y_logits: Tensor
    objects: Objects


class SimCC(KeypointDecoder[SimCCOutputs]):
    """Keypoints by coordinate classification (SimCC): each point is classified over fine bins along x and along y, for one
    object that fills the image, or for each box of another branch.

    Args:
        in_spec: the input features.
        labels: the classes and points.
        on_boxes: reads another branch's boxes; set automatically if the branch has ``boxes_from``.
        levels: indices of the levels that are read; None: for a whole image the deepest, and with a neck the finest too; for
            boxes all levels from stride 4 on.
        channels: channels of the convolutions; None: derived from the backbone (64 to 256).
        depth: convolutions before the classifications.
        split: bins per cell of the area.
        sigma: standard deviation of the target Gaussians, in bins.
        soft: decodes the mean of the bins around the best one, instead of the best one itself.
        region_size: (height, width) in cells of the features that are cropped for a box, or for the whole image.
        margin: a box is enlarged by this factor.
        jitter: in training, a ground-truth box is shifted and resized by up to this fraction of its sides.

    Raises:
        IncompatiblePartsError: there is no level, or the levels' strides do not divide each other.
        ConfigError: an option is out of range.
    """

    part: ClassVar[str] = "simcc"
    terms: ClassVar[tuple[str, ...]] = ("x", "y")
    paper: ClassVar[str] = (
        "Li et al., SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation, ECCV 2022, arXiv "
        "2107.03332 (differences: the area is cropped from the features at a fixed number of cells for any image "
        "size; decoding may average over bins)"
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
        check_range(self.name, minimum=0, depth=depth)
        check_range(self.name, minimum=1, split=split)
        check_range(self.name, minimum=0.1, sigma=sigma)
        self.sigma, self.soft = sigma, soft
        self.body = nn.Sequential(*(ConvNormAct(self.width, self.width, norm="group") for _ in range(depth)))
        self.point_maps = nn.Conv2d(self.width, len(labels.points), 1)
        height, width = self.region_size
        self.x_bins = nn.Linear(height * width, width * split)
        self.y_bins = nn.Linear(height * width, height * split)

    def outputs(self, features: Features, objects: Objects) -> SimCCOutputs:
        """Logits of all bins."""
        cropped = self.body(self.levels.inside(features.maps, objects.areas, self.region_size))
        tokens = self.point_maps(cropped).flatten(2)
        tokens = tokens.reshape(objects.boxes.shape[0], -1, *tokens.shape[1:])
        return SimCCOutputs(self.x_bins(tokens), self.y_bins(tokens), objects)

    def compare(self, outputs: SimCCOutputs, ground_truth: Tensor, known: Tensor) -> dict[str, LossTerm]:
        """The divergence of the distributions over bins from Gaussians at the labeled points."""
        terms = {}
        for axis, (name, logits) in enumerate((("x", outputs.x_logits), ("y", outputs.y_logits))):
            bins = logits.shape[-1]
            terms[name] = bin_term(logits, gaussian_bins(ground_truth[..., axis] * bins, bins, self.sigma), known)
        return terms

    def compare_outputs(self, outputs: SimCCOutputs, teacher: SimCCOutputs, known: Tensor) -> LossTerm:
        """The divergence of the distributions over the bins of both axes."""
        x = bin_term(outputs.x_logits, teacher.x_logits.float().softmax(dim=-1), known)
        y = bin_term(outputs.y_logits, teacher.y_logits.float().softmax(dim=-1), known)
        return LossTerm(x.sum + y.sum, x.count)

    def locate(self, outputs: SimCCOutputs, frame: Frame) -> tuple[Tensor, Tensor]:
        """The coordinates decoded from the bins; a point's score is the geometric mean of its x and y scores."""
        coordinates, scores = [], []
        for logits in (outputs.x_logits, outputs.y_logits):
            coordinate, score = find_coordinates(logits.float().softmax(dim=-1), self.sigma, self.soft)
            coordinates.append(coordinate / logits.shape[-1])
            scores.append(score)
        return torch.stack(coordinates, dim=-1), (scores[0] * scores[1]).sqrt()
