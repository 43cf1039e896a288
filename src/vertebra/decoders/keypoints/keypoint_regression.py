"""Keypoints by coordinate regression."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.keypoints._keypoint_decoder import KeypointDecoder, Objects
from vertebra.features import Features, FeatureSpec, Frame
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.normalizing_flow import RealNVP
from vertebra.layers.option_range import check_range
from vertebra.losses.distillation import laplace_term
from vertebra.losses.keypoints import residual_likelihood_term
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.keypoints.labels import KeypointLabels

MIN_SIGMA = 5e-3  # fraction of an area; without it a few tiny errors dominate the loss


class KeypointRegressionOutputs(NamedTuple):
    """Raw outputs.

    Attributes:
        points: (N, D, K, 2) x, y as fractions of the area.
        sigmas: (N, D, K, 2) in 0..1, the uncertainty of each coordinate, as a fraction of the area.
        objects: the objects that the points belong to.
    """

    points: Tensor
    sigmas: Tensor
    objects: Objects


class KeypointRegression(KeypointDecoder[KeypointRegressionOutputs]):
    """Keypoints by coordinate regression, each with an uncertainty: for one object that fills the image, or for each box of
    another branch.

    The loss is residual log-likelihood estimation (RLE): a normalizing flow learns the distribution of the errors.

    Args:
        in_spec: the input features.
        labels: the classes and points.
        on_boxes: reads another branch's boxes; set automatically if the branch has ``boxes_from``.
        levels: indices of the levels that are read; None: for a whole image the deepest, and with a neck the finest too; for
            boxes all levels from stride 4 on.
        channels: channels of the convolutions; None: derived from the backbone (64 to 256).
        depth: convolutions before the fully connected layers.
        hidden: features of the fully connected hidden layer.
        flow_steps: steps of the normalizing flow, which runs in training only.
        region_size: (height, width) in cells of the features that are cropped for a box, or for the whole image.
        margin: a box is enlarged by this factor.
        jitter: in training, a ground-truth box is shifted and resized by up to this fraction of its sides.

    Raises:
        IncompatiblePartsError: there is no level, or the levels' strides do not divide each other.
        ConfigError: an option is out of range.
    """

    part: ClassVar[str] = "regression"
    terms: ClassVar[tuple[str, ...]] = ("likelihood",)
    paper: ClassVar[str] = (
        "Li et al., Human Pose Regression with Residual Log-likelihood Estimation, ICCV 2021, arXiv 2107.11291 "
        "(differences: the area is cropped from the features at a fixed number of cells, and a fully connected layer reads "
        "all of them, where the paper averages them: an average loses the position inside the box)"
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
        check_range(self.name, minimum=0, depth=depth)
        check_range(self.name, minimum=1, hidden=hidden, flow_steps=flow_steps)
        cells = self.region_size[0] * self.region_size[1]
        self.body = nn.Sequential(*(ConvNormAct(self.width, self.width, norm="group") for _ in range(depth)))
        self.whole = nn.Sequential(nn.Flatten(), nn.Linear(self.width * cells, hidden), nn.ReLU(inplace=True))
        self.numbers = nn.Linear(hidden, len(labels.points) * 4)
        self.flow = RealNVP(flow_steps)
        nn.init.normal_(self.numbers.weight, std=0.001)
        nn.init.zeros_(self.numbers.bias)

    def outputs(self, features: Features, objects: Objects) -> KeypointRegressionOutputs:
        """Coordinates and their sigmas; all points start in the middle of the area."""
        cropped = self.body(self.levels.inside(features.maps, objects.areas, self.region_size))
        numbers = self.numbers(self.whole(cropped)).float()
        points, sigmas = numbers.reshape(objects.boxes.shape[0], -1, len(self.labels.points), 4).split(2, dim=-1)
        return KeypointRegressionOutputs(points + 0.5, sigmas.sigmoid(), objects)

    def compare(self, outputs: KeypointRegressionOutputs, ground_truth: Tensor, known: Tensor) -> dict[str, LossTerm]:
        """The negative log-likelihood of the labeled points."""
        sigmas = outputs.sigmas + MIN_SIGMA
        with torch.autocast(ground_truth.device.type, enabled=False):
            term = residual_likelihood_term(outputs.points, sigmas, ground_truth, known, self.flow.log_density)
        return {"likelihood": term}

    def compare_outputs(
        self, outputs: KeypointRegressionOutputs, teacher: KeypointRegressionOutputs, known: Tensor
    ) -> LossTerm:
        """The divergence of the Laplace distributions of the coordinates."""
        return laplace_term(outputs.points, outputs.sigmas, teacher.points, teacher.sigmas, known)

    def locate(self, outputs: KeypointRegressionOutputs, frame: Frame) -> tuple[Tensor, Tensor]:
        """The regressed coordinates; a point's score is 1 minus the mean of its two sigmas."""
        return outputs.points.float(), 1 - outputs.sigmas.float().mean(dim=-1)
