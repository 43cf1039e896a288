"""Free rotation and perspective: an image is resampled once, by any 3x3 matrix, onto the canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec

MIN_DEPTH = 1e-3  # of a point, as a share of the depth of the image's center; nearer ones are behind the camera


@dataclass(frozen=True, eq=False)
class Warp:
    """A projective map of an image onto the canvas. It has the methods of `vertebra.preprocess.crop_window.CropWindow`.

    Attributes:
        matrix: (3, 3) float64, from x, y, 1 in image pixels to canvas pixels, up to a factor.
        original: (height, width) of the image in pixels.
        out: (height, width) of the canvas' valid pixels, at its top left.
    """

    matrix: np.ndarray
    original: tuple[int, int]
    out: tuple[int, int]

    def transform(self, resize_spec: ResizeSpec, original: tuple[int, int]) -> ImageTransform:
        """The nearest map without rotation: it has the same scale and the same center."""
        scale = float(np.sqrt(self.area_scale))
        x, y = self.points(self._center)
        top, left = round(float(y) - scale * self._center[1]), round(float(x) - scale * self._center[0])
        return ImageTransform(resize_spec.size, original, scale, scale, top, left, self.out)

    @property
    def mirrored(self) -> bool:
        """Whether left and right points of objects change sides."""
        return bool(np.linalg.det(self._jacobian) < 0)

    @property
    def area_scale(self) -> float:
        """Canvas pixels per image pixel, as areas, at the image's center."""
        return float(abs(np.linalg.det(self._jacobian)))

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of x, y from image to canvas pixels; they may lie outside, at minus infinity where they are not seen."""
        mapped = self._homogeneous(np.asarray(points, dtype=np.float64))
        depth = mapped[..., 2:]
        visible = depth > MIN_DEPTH
        on_canvas = np.where(visible, mapped[..., :2] / np.where(visible, depth, 1.0), -np.inf)
        return on_canvas.astype(np.float32)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """The boxes (..., 4) xyxy around the mapped boxes, in canvas pixels; not clipped. A box that is not seen has no area."""
        return self.boxes_around(np.asarray(boxes)[..., [[0, 1], [2, 1], [2, 3], [0, 3]]])

    def boxes_around(self, outlines: np.ndarray) -> np.ndarray:
        """The boxes (..., 4) xyxy around mapped convex polygons (..., P, 2) of x, y, in canvas pixels; not clipped. One
        that is not seen has no area."""
        mapped = self._homogeneous(np.asarray(outlines, dtype=np.float64))
        following = np.roll(mapped, -1, axis=-2)
        depth, next_depth = mapped[..., 2:], following[..., 2:]
        crossing = (depth > MIN_DEPTH) != (next_depth > MIN_DEPTH)  # where an edge leaves what the camera sees
        share = (MIN_DEPTH - depth) / np.where(crossing, next_depth - depth, 1.0)
        candidates = np.concatenate([mapped, mapped + share * (following - mapped)], axis=-2)
        seen = np.concatenate([depth > MIN_DEPTH, crossing], axis=-2)
        positions = candidates[..., :2] / np.where(seen, candidates[..., 2:], 1.0)
        low = np.where(seen, positions, np.inf).min(axis=-2)
        high = np.where(seen, positions, -np.inf).max(axis=-2)
        hull = np.concatenate([low, high], axis=-1)
        visible = seen.any(axis=-2)
        ordered: np.ndarray = np.where(visible, hull, 0.0).astype(np.float32)
        return ordered

    def labels(self, mask: np.ndarray, canvas: tuple[int, int], fill: int) -> np.ndarray:
        """A mask (..., H, W) of the image, on the canvas (..., height, width); each pixel takes the value under its center.

        Args:
            mask: of any type.
            canvas: (height, width) in pixels.
            fill: value outside the image.
        """
        columns, rows = self._sources()
        height, width = self.original
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        flat = np.where(inside, rows * width + columns, 0)
        part = np.where(inside, mask.reshape(*mask.shape[:-2], -1)[..., flat], np.asarray(fill, dtype=mask.dtype))
        on_canvas = np.full((*mask.shape[:-2], *canvas), fill, dtype=mask.dtype)
        on_canvas[..., : self.out[0], : self.out[1]] = part
        return on_canvas

    def resample(self, image: np.ndarray, fill: tuple[int, ...]) -> np.ndarray:
        """The valid pixels of the canvas: bilinear; an image that shrinks to less than half is averaged over blocks first.

        Args:
            image: (H, W, C) uint8.
            fill: gray level of each channel outside the image.

        Returns:
            (height, width, C) uint8 of the size ``out``.
        """
        block = max(1, int(np.sqrt(1 / self.area_scale)))
        inverse = np.linalg.inv(self.matrix)
        inverse = np.diag([1 / block, 1 / block, 1.0]) @ inverse / inverse[2, 2]
        if image.shape[2] == 3:
            return self._sampled(np.ascontiguousarray(image), block, inverse, fill)
        layers = [
            self._sampled(np.ascontiguousarray(image[:, :, channel]), block, inverse, fill[channel])
            for channel in range(image.shape[2])
        ]
        return np.stack(layers, axis=-1)

    def _sampled(self, pixels: np.ndarray, block: int, inverse: np.ndarray, fill: int | tuple[int, ...]) -> np.ndarray:
        picture = Image.fromarray(pixels)
        picture = picture.reduce(block) if block > 1 else picture
        flat = inverse.reshape(-1)
        plain = bool(np.abs(flat[6:8]).max() < 1e-12)
        method = Image.Transform.AFFINE if plain else Image.Transform.PERSPECTIVE
        data = tuple(flat[: 6 if plain else 8].tolist())
        size = (self.out[1], self.out[0])
        return np.array(picture.transform(size, method, data, Image.Resampling.BILINEAR, fillcolor=fill))

    def _sources(self) -> tuple[np.ndarray, np.ndarray]:
        """The image's column and row under the center of each valid pixel of the canvas, (height, width) int64 each."""
        inverse = np.linalg.inv(self.matrix)
        x = (np.arange(self.out[1]) + 0.5)[None, :]
        y = (np.arange(self.out[0]) + 0.5)[:, None]
        across, down, depth = (line[0] * x + (line[1] * y + line[2]) for line in inverse)
        return np.floor(across / depth).astype(np.int64), np.floor(down / depth).astype(np.int64)

    def _homogeneous(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) as x, y and depth (..., 3); the image's center has depth 1."""
        mapped: np.ndarray = points @ self._scaled[:, :2].T + self._scaled[:, 2]
        return mapped

    @property
    def _center(self) -> np.ndarray:
        return np.array([self.original[1] / 2, self.original[0] / 2])

    @property
    def _scaled(self) -> np.ndarray:
        """The matrix, with depth 1 at the image's center."""
        scaled: np.ndarray = self.matrix / (self.matrix[2, :2] @ self._center + self.matrix[2, 2])
        return scaled

    @property
    def _jacobian(self) -> np.ndarray:
        """(2, 2), the linear part of the map at the image's center."""
        scaled = self._scaled
        x, y, _ = self._homogeneous(self._center)
        jacobian: np.ndarray = scaled[:2, :2] - np.outer([x, y], scaled[2, :2])
        return jacobian


def rotation(degrees: float, center: tuple[float, float]) -> np.ndarray:
    """(3, 3), a rotation counterclockwise around ``center`` (x, y)."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    matrix[:2, 2] = np.array(center) - matrix[:2, :2] @ np.array(center)
    return matrix


def homography(corners: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """(3, 3), the projective map of four points (4, 2) onto four others.

    Raises:
        numpy.linalg.LinAlgError: three of the points are on one line.
    """
    x, y = corners.T
    zero, one = np.zeros(4), np.ones(4)
    across = np.stack([x, y, one, zero, zero, zero, -x * moved[:, 0], -y * moved[:, 0]], axis=1)
    down = np.stack([zero, zero, zero, x, y, one, -x * moved[:, 1], -y * moved[:, 1]], axis=1)
    values = np.linalg.solve(np.concatenate([across, down]), np.concatenate([moved[:, 0], moved[:, 1]]))
    matrix: np.ndarray = np.append(values, 1.0).reshape(3, 3)
    return matrix
