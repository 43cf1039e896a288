"""Keypoints as peaks of heatmaps."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.keypoints._keypoint_decoder import FINEST, KeypointDecoder, Objects
from vertebra.features import Features, FeatureSpec, Frame
from vertebra.geometry.heatmaps import find_peaks, gaussian_maps
from vertebra.layers.norm import group_norm
from vertebra.layers.option_range import check_range
from vertebra.losses.keypoints import heatmap_term
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.keypoints.labels import KeypointLabels


class HeatmapOutputs(NamedTuple):
    """Raw outputs.

    Attributes:
        maps: (N, D, K, h, w), one heatmap for each point of each object, over the object's area.
        objects: the objects that the points belong to.
    """

    maps: Tensor
    objects: Objects


class Heatmap(KeypointDecoder[HeatmapOutputs]):
    """Keypoints as peaks of heatmaps, which transposed convolutions compute from the features: for one object that fills the
    image, or for each box of another branch.

    Args:
        in_spec: the input features.
        labels: the classes and points.
        on_boxes: reads another branch's boxes; set automatically if the branch has ``boxes_from``.
        levels: indices of the levels that are read; None: for a whole image the deepest, and with a neck the finest too; for
            boxes all levels from stride 4 on.
        channels: channels of the transposed convolutions; None: derived from the backbone (64 to 256).
        upsamples: how many transposed convolutions, each of which doubles the resolution; None: up to stride 4 for a whole
            image, 2 for boxes.
        sigma: standard deviation of the target Gaussians, in heatmap cells.
        region_size: (height, width) in cells of the features that are cropped for a box.
        margin: a box is enlarged by this factor.
        jitter: in training, a ground-truth box is shifted and resized by up to this fraction of its sides.

    Raises:
        IncompatiblePartsError: there is no level, or the levels' strides do not divide each other.
        ConfigError: an option is out of range.
    """

    part: ClassVar[str] = "heatmap"
    terms: ClassVar[tuple[str, ...]] = ("heatmap",)
    paper: ClassVar[str] = (
        "Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, arXiv 1804.06208 (differences: "
        "unbiased coordinates of Huang et al., CVPR 2020, arXiv 1911.07524; sub-pixel decoding of Zhang et al., DARK, "
        "CVPR 2020, arXiv 1910.06278; group normalization; channels derived from the backbone; the loss is divided "
        "by that of a blank map)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: KeypointLabels,
        *,
        on_boxes: bool = False,
        levels: list[int] | None = None,
        channels: int | None = None,
        upsamples: int | None = None,
        sigma: float = 2.0,
        region_size: tuple[int, int] = (14, 14),
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
        check_range(self.name, minimum=0, maximum=6, upsamples=upsamples)
        check_range(self.name, minimum=0.5, sigma=sigma)
        self.sigma = sigma
        stride = self.levels.strides[0]
        if upsamples is None:
            upsamples = 2 if on_boxes else max(0, (stride // FINEST).bit_length() - 1)
        self.cell_px = stride / 2**upsamples
        self.upsample = nn.Sequential(*(UpsampleConv(self.width) for _ in range(upsamples)))
        self.heat = nn.Conv2d(self.width, len(labels.points), 1)
        nn.init.normal_(self.heat.weight, std=0.001)
        nn.init.zeros_(self.heat.bias)  # type: ignore[arg-type]

    def outputs(self, features: Features, objects: Objects) -> HeatmapOutputs:
        """A heatmap for each point of each object."""
        if self.needs is None:
            fused = self.levels(features.maps)
        else:
            fused = self.levels.inside(features.maps, objects.areas, self.region_size)
        maps = self.heat(self.upsample(fused))
        if self.needs is None:
            # the maps also cover the padding of the canvas, so the area does too
            height, width = maps.shape[-2] * self.cell_px, maps.shape[-1] * self.cell_px
            corner = torch.zeros_like(objects.areas[..., 0])
            areas = torch.stack([corner, corner, corner + width, corner + height], dim=-1)
            objects = objects._replace(areas=areas)
        return HeatmapOutputs(maps.reshape(objects.boxes.shape[0], -1, *maps.shape[-3:]), objects)

    def compare(self, outputs: HeatmapOutputs, ground_truth: Tensor, known: Tensor) -> dict[str, LossTerm]:
        """The squared error of the heatmaps of labeled points."""
        height, width = outputs.maps.shape[-2:]
        cells = torch.tensor([width, height], device=ground_truth.device)
        target = gaussian_maps(ground_truth * cells, height, width, self.sigma)
        return {"heatmap": heatmap_term(outputs.maps, target, known, self.sigma)}

    def compare_outputs(self, outputs: HeatmapOutputs, teacher: HeatmapOutputs, known: Tensor) -> LossTerm:
        """The squared error of the heatmaps."""
        return heatmap_term(outputs.maps, teacher.maps.float(), known, self.sigma)

    def locate(self, outputs: HeatmapOutputs, frame: Frame) -> tuple[Tensor, Tensor]:
        """The peaks inside the image, and their heights."""
        maps = outputs.maps.float()
        height, width = maps.shape[-2:]
        if self.needs is None:
            image_cells = frame.sizes / self.cell_px
            rows = torch.arange(height, device=maps.device) < image_cells[:, :1]
            columns = torch.arange(width, device=maps.device) < image_cells[:, 1:]
            inside = rows[:, :, None] & columns[:, None, :]
            maps = torch.where(inside[:, None, None], maps, 0.0)
        peaks, heights = find_peaks(maps, self.sigma)
        x, y = peaks.unbind(dim=-1)
        return torch.stack([x / width, y / height], dim=-1), heights.clamp(0, 1)


class UpsampleConv(nn.Sequential):
    """A transposed convolution that doubles the resolution and keeps the alignment, group normalization and ReLU."""

    def __init__(self, width: int) -> None:
        conv = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False)
        # each output cell depends on 2 x 2 input cells
        nn.init.normal_(conv.weight, std=(2 / (4 * width)) ** 0.5)
        super().__init__(conv, group_norm(width), nn.ReLU(inplace=True))
