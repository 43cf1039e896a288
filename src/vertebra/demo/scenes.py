"""Synthetic scenes: animals on textured, cluttered backgrounds, with random size, color, overlap and light."""

from __future__ import annotations

from colorsys import rgb_to_hsv
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vertebra.demo.animals import ANIMALS, DRAWERS, ellipse

COLORS = ("red", "yellow", "green", "turquoise", "blue", "purple")  # at equal steps of hue
MIN_SATURATION, MAX_DISTANCE = 0.2, 0.4  # of a color that has a name; the distance in steps of hue
SUPERSAMPLING = 2  # scenes are drawn this much larger and then downscaled, which smooths their edges


@dataclass(frozen=True)
class SceneStyle:
    """The difficulty of the scenes.

    Attributes:
        size: (height, width) in pixels.
        main_scale: size of the scene's main animal, as a part of the height.
        other_scale: size of the others, likewise.
        max_others: maximum number of other animals.
        clutter: mean number of stones, blades and leaves.
        contrast: minimum distance of an animal's color from the background's, in 0..255 for each channel.
        apart: minimum distance between the centers of the main animal and another, in sums of their half sizes; below 1
            they overlap.
        noise: standard deviation of the sensor's noise, in 0..255.
    """

    size: tuple[int, int] = (96, 128)
    main_scale: tuple[float, float] = (0.55, 0.85)
    other_scale: tuple[float, float] = (0.26, 0.4)
    max_others: int = 2
    clutter: float = 12.0
    contrast: float = 45.0
    apart: float = 0.75
    noise: float = 5.0


@dataclass(frozen=True)
class Scene:
    """A synthetic scene with all its labels.

    Attributes:
        image: (H, W, 3) uint8.
        main: name of its main animal, the largest.
        boxes: (M, 4) xyxy in pixels, tight around the visible part of each animal.
        labels: (M,) indices into `ANIMALS`.
        mask: (H, W) uint8: 0 ground, 1 and up the animals in the order of `ANIMALS`.
        numbers: (H, W) uint8: 0 ground, 1 and up the scene's animals in the order of ``boxes``.
        colors: of `COLORS`, the color of each animal as it is painted, without light and shadow; "" for one that is gray, or
            between two of them.
    """

    image: np.ndarray
    main: str
    boxes: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    numbers: np.ndarray
    colors: tuple[str, ...]


def draw_scene(seed: int | list[int], main: int | None = None, style: SceneStyle | None = None) -> Scene:
    """Draws one scene; the same seed gives the same scene.

    Args:
        main: index of the main animal; random by default.
    """
    style = style or SceneStyle()
    draw = np.random.default_rng(seed)
    height, width = (side * SUPERSAMPLING for side in style.size)
    ground_color = draw.uniform(50, 190, 3)
    picture = Image.fromarray(_ground(draw, height, width, ground_color))
    _clutter(draw, picture, style, ground_color)
    ids = Image.new("L", picture.size)
    cast = _cast(draw, style, main)
    colors = []
    for number, actor in enumerate(cast, start=1):
        paint = _color(draw, ground_color, style.contrast)
        colors.append(color_name(paint))
        _draw_actor(draw, picture, ids, number, actor, paint)
    image = _light(draw, np.asarray(picture.resize(style.size[::-1], Image.Resampling.BOX), dtype=np.float32), style)
    numbers = np.asarray(ids.resize(style.size[::-1], Image.Resampling.NEAREST))
    boxes, labels, mask, shown, kept = _labels(numbers, [actor.animal for actor in cast])
    return Scene(image, ANIMALS[cast[-1].animal], boxes, labels, mask, shown, tuple(colors[row] for row in kept))


def color_name(color: np.ndarray) -> str:
    """The nearest of `COLORS` to (red, green, blue) in 0..255; "" for a color that is gray, or near the middle of two."""
    hue, saturation, _ = rgb_to_hsv(*(color / 255).tolist())
    position = hue * len(COLORS)
    nearest = round(position)
    if saturation < MIN_SATURATION or abs(position - nearest) > MAX_DISTANCE:
        return ""
    return COLORS[nearest % len(COLORS)]


@dataclass(frozen=True)
class _Actor:
    """An animal of a scene: its index, its middle (x, y) and its half size, in drawn pixels."""

    animal: int
    middle: np.ndarray
    half_size: float


def _cast(draw: np.random.Generator, style: SceneStyle, main: int | None) -> list[_Actor]:
    """The animals, the main one last and therefore in front."""
    drawn = int(draw.integers(len(ANIMALS)))
    front = _actor(draw, style, drawn if main is None else main, style.main_scale)
    cast = []
    for _ in range(draw.integers(style.max_others + 1)):
        for _ in range(20):
            other = _actor(draw, style, int(draw.integers(len(ANIMALS))), style.other_scale)
            if np.linalg.norm(other.middle - front.middle) >= style.apart * (other.half_size + front.half_size):
                cast.append(other)
                break
    return [*cast, front]


def _actor(draw: np.random.Generator, style: SceneStyle, animal: int, scale: tuple[float, float]) -> _Actor:
    height, width = (side * SUPERSAMPLING for side in style.size)
    half = 0.5 * draw.uniform(*scale) * height
    return _Actor(animal, draw.uniform((0.8 * half, 0.8 * half), (width - 0.8 * half, height - 0.8 * half)), half)


def _ground(draw: np.random.Generator, height: int, width: int, color: np.ndarray) -> np.ndarray:
    """A background of one color with coarse and fine texture and a brightness gradient."""
    texture = np.zeros((height, width), dtype=np.float32)
    for cells, strength in ((3, 28), (8, 18), (24, 12), (64, 9)):
        coarse = draw.normal(size=(max(2, cells * height // width), cells)).astype(np.float32)
        texture += strength * np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    slope = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * draw.uniform(-25, 25)
    tint = 1 + 0.25 * draw.normal(size=3)
    values = color + (texture + slope)[..., None] * tint
    return np.clip(values, 0, 255).astype(np.uint8)


def _clutter(draw: np.random.Generator, picture: Image.Image, style: SceneStyle, ground: np.ndarray) -> None:
    """Stones, blades of grass and leaves, in colors that animals have too."""
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    for _ in range(draw.poisson(style.clutter)):
        at = draw.uniform(0, 1, 2) * (width, height)
        item_color = np.clip(ground + draw.normal(0, 45, 3), 0, 255).astype(int)
        size = draw.uniform(0.02, 0.1) * height
        kind = draw.integers(3)
        if kind == 0:
            outline = ellipse(at[0], at[1], size, size * draw.uniform(0.5, 1), draw.uniform(0, 3))
        elif kind == 1:
            tip = at + (draw.uniform(-1.5, 1.5) * size, -size * draw.uniform(2, 5))
            outline = np.array([at - (size * 0.12, 0), tip, at + (size * 0.12, 0)])
        else:
            outline = at + draw.normal(0, size * 0.7, (draw.integers(3, 6), 2))
        pen.polygon([tuple(point) for point in outline.tolist()], fill=tuple(item_color.tolist()))


def _color(draw: np.random.Generator, ground: np.ndarray, contrast: float) -> np.ndarray:
    """A random color with a minimum contrast to the background; it is independent of the class."""
    while True:
        color = draw.uniform(20, 235, 3)
        if np.abs(color - ground).mean() >= contrast:
            return np.asarray(color)


def _draw_actor(
    draw: np.random.Generator, picture: Image.Image, ids: Image.Image, number: int, actor: _Actor, color: np.ndarray
) -> None:
    """Draws an animal with a soft shadow into the picture, and its number into the ids."""
    half = actor.half_size
    turn, flip = draw.uniform(-0.45, 0.45), draw.choice([-1, 1])
    cosine, sine = np.cos(turn), np.sin(turn)
    matrix = half * np.array([[flip * cosine, flip * sine], [-sine, cosine]]) * draw.uniform(0.85, 1.15, (1, 2))
    shapes = [(shape.outline @ matrix + actor.middle, shape.shade) for shape in DRAWERS[ANIMALS[actor.animal]](draw)]
    shadow = Image.new("L", picture.size)
    pen = ImageDraw.Draw(shadow)
    for outline, _ in shapes:
        pen.polygon([tuple(point) for point in (outline + 0.12 * half).tolist()], fill=90)
    picture.paste((0, 0, 0), mask=shadow.filter(ImageFilter.GaussianBlur(0.08 * half)))
    pen, marker = ImageDraw.Draw(picture), ImageDraw.Draw(ids)
    for outline, shade in shapes:
        points = [tuple(point) for point in outline.tolist()]
        filled = np.clip(color * shade + (30 if shade > 1.5 else 0), 0, 255).astype(int)
        pen.polygon(points, fill=tuple(filled.tolist()))
        marker.polygon(points, fill=number)


def _light(draw: np.random.Generator, values: np.ndarray, style: SceneStyle) -> np.ndarray:
    """Brightness, a color cast, light from one side, and sensor noise."""
    height, width = style.size
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None] * draw.uniform(-0.25, 0.25)
    lit = values * draw.uniform(0.6, 1.25) * draw.uniform(0.88, 1.12, 3) * (1 + across)
    noisy = lit + draw.normal(0, style.noise, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _labels(
    numbers: np.ndarray, animals: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Boxes, labels, mask and numbers of the visible parts, and the indices of their animals; animals that are nearly hidden are
    left out."""
    boxes, labels, kept = [], [], []
    mask, shown = np.zeros(numbers.shape, dtype=np.uint8), np.zeros(numbers.shape, dtype=np.uint8)
    for number, animal in enumerate(animals, start=1):
        rows, columns = np.nonzero(numbers == number)
        if len(rows) < 12:
            continue
        boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        labels.append(animal)
        kept.append(number - 1)
        mask[numbers == number] = animal + 1
        shown[numbers == number] = len(labels)
    return np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(labels, dtype=np.int64), mask, shown, kept
