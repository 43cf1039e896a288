"""The geometry of preprocessing: from an image of any size to the canvas, and from the canvas back to the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from vertebra.errors import ConfigError, UnknownName
from vertebra.preprocess.number_range import Scale, parse_scale

Mode = Literal["letterbox", "resize", "center_crop", "shortest_edge"]
MODES: tuple[str, ...] = get_args(Mode)
FILL = (124, 116, 104)


@dataclass(frozen=True)
class ImageTransform:
    """The position of one image on the canvas: along each axis, ``canvas = scale * image + offset``.

    Coordinates are those of pixel edges: the first pixel of an image reaches from 0 to 1.

    Attributes:
        canvas: (height, width) of the canvas in pixels.
        original: (height, width) of the image in pixels.
        scale_y, scale_x: canvas pixels per image pixel.
        top, left: the position of the image's top left corner on the canvas, in pixels; negative where it is cropped.
        size: (height, width) of the canvas' valid pixels, at its top left; beside them is fill.
    """

    canvas: tuple[int, int]
    original: tuple[int, int]
    scale_y: float
    scale_x: float
    top: int
    left: int
    size: tuple[int, int]

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) of the whole image at the canvas' scale, before any crop."""
        return round(self.original[0] * self.scale_y), round(self.original[1] * self.scale_x)

    def points_to_canvas(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of x, y from image to canvas pixels."""
        on_canvas: np.ndarray = np.asarray(points, dtype=np.float32) * self._scale + self._offset
        return on_canvas

    def points_to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of x, y from canvas to image pixels; they may lie outside the image."""
        in_image: np.ndarray = (np.asarray(points, dtype=np.float32) - self._offset) / self._scale
        return in_image

    def boxes_to_canvas(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) xyxy from image to canvas pixels; not clipped."""
        boxes = np.asarray(boxes, dtype=np.float32)
        return self.points_to_canvas(boxes.reshape(*boxes.shape[:-1], 2, 2)).reshape(boxes.shape)

    def boxes_to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) xyxy from canvas to image pixels, clipped to the image."""
        boxes = np.asarray(boxes, dtype=np.float32)
        corners = (boxes.reshape(*boxes.shape[:-1], 2, 2) - self._offset) / self._scale
        limit = np.array(self.original[::-1], dtype=np.float32)
        clipped: np.ndarray = np.clip(corners, 0, limit).reshape(boxes.shape)
        return clipped

    @property
    def _scale(self) -> np.ndarray:
        return np.array([self.scale_x, self.scale_y], dtype=np.float32)

    @property
    def _offset(self) -> np.ndarray:
        return np.array([self.left, self.top], dtype=np.float32)


@dataclass(frozen=True)
class ResizeSpec:
    """How images are resized onto the canvas; it is stored with the model, so prediction preprocesses as training did.

    Attributes:
        size: (height, width) of the canvas in pixels; for "shortest_edge" the length of the shorter side, and the maximum of
            the longer side.
        mode: "letterbox" keeps the aspect, with the image at the canvas' top left and fill at its right or bottom;
            "resize" stretches to the whole canvas; "center_crop" keeps the aspect, covers the canvas and crops both ends of
            the longer side; "shortest_edge" keeps the aspect, and each image has its own canvas size, as for models of
            other libraries that were trained this way.
        fill: gray level of each channel beside the image.
        crop: for "center_crop", the part of the shorter side that the canvas covers: ImageNet models are commonly measured
            with 0.875.
        scale: the range of numbers of more than 8 bits: "auto", or (low, high), also as [low, high] or the number of white;
            see `vertebra.preprocess.number_range`.
    """

    size: tuple[int, int]
    mode: Mode = "letterbox"
    fill: tuple[int, ...] = FILL
    crop: float = 1.0
    scale: Scale = "auto"

    def __post_init__(self) -> None:
        sides = tuple(self.size)
        if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
            raise ConfigError(f"the canvas must be (height, width) in whole pixels, at least 1, got {self.size}")
        if self.mode not in MODES:
            raise UnknownName("resize mode", str(self.mode), MODES)
        fill = tuple(self.fill)
        if not fill or any(
            isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 255 for level in fill
        ):
            raise ConfigError(f"fill must be gray levels of 0 to 255, one for each channel, got {self.fill}")
        if not 0 < self.crop <= 1 or (self.crop != 1 and self.mode != "center_crop"):
            raise ConfigError(f"crop must be above 0 and at most 1, and 1 except for center_crop, got {self.crop}")
        object.__setattr__(self, "size", sides)
        object.__setattr__(self, "fill", fill)
        object.__setattr__(self, "scale", parse_scale(self.scale))

    def transform(self, height: int, width: int) -> ImageTransform:
        """The position of an image of this size on the canvas."""
        if height < 1 or width < 1:
            raise ConfigError(f"an image of {height}x{width} pixels cannot be put on a canvas")
        rows, columns = self.size
        if self.mode == "resize":
            return ImageTransform(self.size, (height, width), rows / height, columns / width, 0, 0, self.size)
        if self.mode == "shortest_edge":
            scale = min(rows / min(height, width), columns / max(height, width))
            resized = (max(1, round(height * scale)), max(1, round(width * scale)))
            return ImageTransform(resized, (height, width), resized[0] / height, resized[1] / width, 0, 0, resized)
        fits = (rows / height, columns / width)
        scale = min(fits) if self.mode == "letterbox" else max(fits) / self.crop
        resized = (max(1, round(height * scale)), max(1, round(width * scale)))
        if self.mode == "letterbox":
            resized = (min(resized[0], rows), min(resized[1], columns))
            top, left, size = 0, 0, resized
        else:
            resized = (max(resized[0], rows), max(resized[1], columns))
            top, left, size = -((resized[0] - rows) // 2), -((resized[1] - columns) // 2), self.size
        return ImageTransform(self.size, (height, width), resized[0] / height, resized[1] / width, top, left, size)

    def scaled(self, factor: float) -> ResizeSpec:
        """The same with a canvas whose sides are multiplied by a factor, rounded to whole pixels."""
        if factor == 1:
            return self
        return replace(self, size=(max(1, round(self.size[0] * factor)), max(1, round(self.size[1] * factor))))

    def fill_for(self, channels: int) -> tuple[int, ...]:
        """The fill of an image with this many channels; the mean of the fill where its number of channels differs."""
        if len(self.fill) == channels:
            return self.fill
        return (round(sum(self.fill) / len(self.fill)),) * channels

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values: dict[str, Any] = {"size": list(self.size), "mode": self.mode, "fill": list(self.fill)}
        crop = {} if self.crop == 1 else {"crop": self.crop}
        return {**values, **crop, **({} if self.scale == "auto" else {"scale": list(self.scale)})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResizeSpec:
        """The specification that `to_dict` wrote.

        Raises:
            ConfigError: a value is missing or wrong.
        """
        try:
            size, fill = tuple(values["size"]), tuple(values["fill"])
            return cls(size, values["mode"], fill, values.get("crop", 1.0), values.get("scale", "auto"))
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"a preprocessing specification needs 'size', 'mode' and 'fill', got {dict(values)}"
            ) from error
