"""Keypoints by regression of coordinates."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.keypoints._keypoint_decoder import KeypointDecoder, Objects
from vertebra.features import Features, FeatureSpec, Frame
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.normalizing_flow import RealNVP
from vertebra.layers.option_range import check_range
from vertebra.losses.keypoints import residual_likelihood_term
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.keypoints.labels import KeypointLabels

LEAST_SIGMA = 5e-3  # of an area: half a pixel of a hundred; without it a few errors of almost nothing lead the loss


class KeypointRegressionOutputs(NamedTuple):
    """Raw outputs.

    Attributes:
        points: (N, D, K, 2) x, y in parts of the area.
        sigmas: (N, D, K, 2) in 0..1, how far off each coordinate may be, in parts of the area.
        objects: whose points they are.
    """

    points: Tensor
    sigmas: Tensor
    objects: Objects


class KeypointRegression(KeypointDecoder[KeypointRegressionOutputs]):
    """Finds points as numbers, each with a width of doubt: for one object that fills the image, or for each box of another
    branch. It learns by the likelihood of its errors, whose shape a normalizing flow learns along.

    Args:
        in_spec: the features that come in.
        labels: the classes and points.
        on_boxes: read another branch's boxes; set by itself where the branch has ``boxes_from``.
        levels: indices of the levels that are read; None: for a whole image the deepest, and with a neck the finest too; for
            boxes all from stride 4.
        channels: width of the convolutions; None fits the backbone (64 to 256).
        depth: convolutions before the layers that see the whole area.
        hidden: width of the hidden layer that sees the whole area.
        flow_steps: steps of the normalizing flow; it is not run in prediction.
        region_size: (height, width) in cells of what is cut out of the features for a box, or for the whole image.
        margin: a box is enlarged by this factor.
        jitter: in training a true box is moved and resized by up to this part of its sides.

    Raises:
        IncompatiblePartsError: there is no level to stand on, or the levels' strides do not fit each other.
        ConfigError: an option is out of range.
    """

    part: ClassVar[str] = "regression"
    terms: ClassVar[tuple[str, ...]] = ("likelihood",)
    paper: ClassVar[str] = (
        "Li et al., Human Pose Regression with Residual Log-likelihood Estimation, ICCV 2021, arXiv 2107.11291 "
        "(differences: the area is cut out of the features at a fixed number of cells, and a hidden layer sees all cells "
        "in their places, where the paper takes their mean: a box's features do not tell where in the box they lie)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: KeypointLabels,
        *,
        on_boxes: bool = False,
        levels: list[int] | None = None,
        channels: int | None = None,
        depth: int = 1,
        hidden: int = 256,
        flow_steps: int = 6,
        region_size: tuple[int, int] = (7, 7),
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
        check_range(self.name, least=1, hidden=hidden, flow_steps=flow_steps)
        cells = self.region_size[0] * self.region_size[1]
        self.body = nn.Sequential(*(ConvNormAct(self.width, self.width, norm="group") for _ in range(depth)))
        self.whole = nn.Sequential(nn.Flatten(), nn.Linear(self.width * cells, hidden), nn.ReLU(inplace=True))
        self.numbers = nn.Linear(hidden, len(labels.points) * 4)
        self.flow = RealNVP(flow_steps)
        nn.init.normal_(self.numbers.weight, std=0.001)
        nn.init.zeros_(self.numbers.bias)

    def outputs(self, features: Features, objects: Objects) -> KeypointRegressionOutputs:
        """Coordinates and their sigmas; all points start in the middle of the area."""
        found = self.body(self.levels.inside(features.maps, objects.areas, self.region_size))
        numbers = self.numbers(self.whole(found)).float()
        points, sigmas = numbers.reshape(objects.boxes.shape[0], -1, len(self.labels.points), 4).split(2, dim=-1)
        return KeypointRegressionOutputs(points + 0.5, sigmas.sigmoid(), objects)

    def compare(self, outputs: KeypointRegressionOutputs, ground_truth: Tensor, known: Tensor) -> dict[str, LossTerm]:
        """The negative log-likelihood of the labeled points."""
        sigmas = outputs.sigmas + LEAST_SIGMA
        with torch.autocast(ground_truth.device.type, enabled=False):
            term = residual_likelihood_term(outputs.points, sigmas, ground_truth, known, self.flow.log_density)
        return {"likelihood": term}

    def locate(self, outputs: KeypointRegressionOutputs, frame: Frame) -> tuple[Tensor, Tensor]:
        """The coordinates as they are; a point's score is 1 less the mean of its two sigmas."""
        return outputs.points.float(), 1 - outputs.sigmas.float().mean(dim=-1)
