"""The second stage of a two-stage detector: class and refined box of each region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from vertebra.errors import ConfigError
from vertebra.layers.conv import ConvNormAct


class BoxHead(nn.Module):
    """Class and box of regions: optional convolutions, then fully connected layers.

    Args:
        channels: of the levels.
        size: cells along each side of a region.
        convs: 3x3 convolutions first, with BatchNorm; the v2 model has 4.
        hidden: widths of the fully connected layers.
        classes: number of classes without the background, which comes last.
    """

    def __init__(
        self, channels: int, size: int, convs: int, hidden: Sequence[int], classes: int, norm: Literal["batch", "group"]
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ConfigError(f"'hidden' must name at least one width of 1 or more, got {list(hidden)}")
        self.convs = nn.Sequential(*(ConvNormAct(channels, channels, norm=norm) for _ in range(convs)))
        layers: list[nn.Module] = []
        width = channels * size * size
        for layer_width in hidden:
            layers += [nn.Linear(width, layer_width), nn.ReLU(inplace=True)]
            width = layer_width
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, classes + 1)
        self.boxes = nn.Linear(width, classes * 4)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.normal_(self.boxes.weight, std=0.001)
        for layer in (self.classifier, self.boxes):
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, classes + 1) and coded boxes (R, classes, 4) of regions (R, channels, size, size)."""
        features = self.layers(self.convs(regions).flatten(1))
        return self.classifier(features), self.boxes(features).reshape(regions.shape[0], -1, 4)
