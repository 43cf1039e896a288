"""Drawn data sets of different character, for comparing recipes: tiny objects, thin structures, gray images, strong imbalance,
few images.

Each set is written in an ordinary format with the splits train, val and test. The backgrounds are random textures with the
spectrum of natural images, and shapes of other colors and kinds lie among the objects, so that a set is not solved at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Splits = Mapping[str, int]


@dataclass(frozen=True)
class DrawnSet:
    """A data set that is drawn.

    Attributes:
        task: what it is labeled for.
        write: writes it into a folder.
        splits: images of each split.
    """

    task: str
    write: Callable[[Path, Splits, np.random.Generator], None]
    splits: Splits


def texture(draw: np.random.Generator, height: int, width: int, gray: bool = False) -> Image.Image:
    """A random background with a power spectrum of 1/f^2."""
    channels = 1 if gray else 3
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0
    spectrum = draw.normal(size=(channels, *frequency.shape)) + 1j * draw.normal(size=(channels, *frequency.shape))
    noise = np.fft.irfft2(spectrum / frequency, s=(height, width))
    noise = noise / noise.std() * draw.uniform(15, 30) + draw.uniform(90, 150)
    noise += draw.normal(0, 4, noise.shape)
    values = np.clip(noise, 0, 255).astype(np.uint8)
    return Image.fromarray(values[0]) if gray else Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0)))


def _polygon(x: float, y: float, radius: float, corners: int, angle: float) -> list[tuple[float, float]]:
    turns = angle + 2 * np.pi * np.arange(corners) / corners
    return [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]


def _color(draw: np.random.Generator, gray: bool) -> int | tuple[int, ...]:
    return int(draw.integers(0, 256)) if gray else tuple(int(value) for value in draw.integers(0, 256, 3))


def _boxes(
    sizes: tuple[float, float], shape: tuple[int, int], counts: tuple[int, int], gray: bool
) -> Callable[[Path, Splits, np.random.Generator], None]:
    """Writes COCO files of triangles, squares and disks of random color among stars, which are not labeled."""
    names = ("triangle", "square", "disk")

    def write(folder: Path, splits: Splits, draw: np.random.Generator) -> None:
        for split, count in splits.items():
            (folder / split).mkdir(parents=True)
            images, objects = [], []
            for number in range(count):
                picture = texture(draw, *shape, gray)
                pen = ImageDraw.Draw(picture)
                for _ in range(int(draw.integers(*counts, endpoint=True))):
                    radius = math.exp(draw.uniform(*np.log(sizes))) / 2
                    x, y = draw.uniform(radius, shape[1] - radius), draw.uniform(radius, shape[0] - radius)
                    kind = int(draw.integers(4))
                    fill = _color(draw, gray)
                    if kind == 2:
                        box = (x - radius, y - radius, x + radius, y + radius)
                        pen.ellipse(box, fill=fill)
                    else:
                        corners = _polygon(x, y, radius, (3, 4, 0, 10)[kind], draw.uniform(0, np.pi))
                        if kind == 3:
                            corners = [
                                (x + (a - x) * (1, 0.4)[i % 2], y + (b - y) * (1, 0.4)[i % 2])
                                for i, (a, b) in enumerate(corners)
                            ]
                        pen.polygon(corners, fill=fill)
                        across, down = zip(*corners, strict=True)
                        box = (min(across), min(down), max(across), max(down))
                    if kind < 3:
                        left, top, right, bottom = (float(value) for value in box)
                        objects.append(
                            {"id": len(objects) + 1, "image_id": number, "category_id": kind + 1, "iscrowd": 0,
                             "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
                        )  # fmt: skip
                name = f"{number:04}.png"
                picture.save(folder / split / name)
                images.append({"id": number, "file_name": name, "height": shape[0], "width": shape[1]})
            categories = [{"id": index + 1, "name": name} for index, name in enumerate(names)]
            content = {"images": images, "annotations": objects, "categories": categories}
            (folder / split / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")

    return write


def _thin(folder: Path, splits: Splits, draw: np.random.Generator) -> None:
    """Writes mask folders of gray images with curved cracks 2 to 3 pixels wide; broad dark bands are not cracks."""
    (folder / "masks").mkdir(parents=True)
    for split, count in splits.items():
        for name in ("images", "masks"):
            (folder / name / split).mkdir(parents=True)
        for number in range(count):
            picture, mask = texture(draw, 192, 256, gray=True), Image.new("L", (256, 192))
            pen, mask_pen = ImageDraw.Draw(picture), ImageDraw.Draw(mask)
            for crack in (False, True, True):
                start, direction = draw.uniform([0, 0], [256, 192]), draw.uniform(0, 2 * np.pi)
                turns = direction + np.cumsum(draw.normal(0, 0.25, 40))
                line = [tuple(point) for point in start + np.cumsum(5 * np.stack([np.cos(turns), np.sin(turns)], 1), 0)]
                wide = int(draw.integers(2, 4)) if crack else int(draw.integers(9, 15))
                pen.line(line, fill=int(draw.integers(30, 80)), width=wide, joint="curve")
                if crack:
                    mask_pen.line(line, fill=1, width=wide, joint="curve")
                else:
                    mask_pen.line(line, fill=0, width=wide, joint="curve")
            picture.save(folder / "images" / split / f"{number:04}.png")
            mask.save(folder / "masks" / split / f"{number:04}.png")
    (folder / "classes.txt").write_text("background\ncrack\n", encoding="utf-8")


def _regions(folder: Path, splits: Splits, draw: np.random.Generator) -> None:
    """Writes mask folders of three kinds of blobs, distinguished by their texture; one covers 1 % of the pixels."""
    for split, count in splits.items():
        for name in ("images", "masks"):
            (folder / name / split).mkdir(parents=True)
        for number in range(count):
            picture, mask = texture(draw, 192, 256), Image.new("L", (256, 192))
            for kind, radius in ((1, 45), (2, 35), (3, 10), (3, 10)):
                x, y = draw.uniform(0, 256), draw.uniform(0, 192)
                turns = np.linspace(0, 2 * np.pi, 30, endpoint=False)
                bumps = radius * (1 + 0.3 * np.sin(turns * int(draw.integers(2, 6)) + draw.uniform(0, 6)))
                outline = [(x + r * math.cos(t), y + r * math.sin(t)) for r, t in zip(bumps, turns, strict=True)]
                inside = Image.new("L", (256, 192))
                ImageDraw.Draw(inside).polygon(outline, fill=255)
                rows, columns = np.mgrid[:192, :256]
                period = {1: 9, 2: 5, 3: 3}[kind]
                angle = draw.uniform(0, np.pi)
                wave = np.sin(2 * np.pi * (rows * math.sin(angle) + columns * math.cos(angle)) / period)
                pattern = np.asarray(texture(draw, 192, 256), dtype=float) * 0.5 + 60 + 40 * wave[..., None]
                picture.paste(Image.fromarray(np.clip(pattern, 0, 255).astype(np.uint8)), (0, 0), inside)
                mask.paste(kind, (0, 0), inside)
            picture.save(folder / "images" / split / f"{number:04}.png")
            mask.save(folder / "masks" / split / f"{number:04}.png")
    (folder / "classes.txt").write_text("background\ncoarse\nfine\nrare\n", encoding="utf-8")


def _classes(shares: tuple[float, ...], gray: bool) -> Callable[[Path, Splits, np.random.Generator], None]:
    """Writes class folders of shapes with as many corners as the class's number, of random size, color and turn."""

    def write(folder: Path, splits: Splits, draw: np.random.Generator) -> None:
        for split, count in splits.items():
            for number in range(count):
                kind = int(np.searchsorted(np.cumsum(shares), (number + 0.5) / count))
                picture = texture(draw, 160, 160, gray)
                pen = ImageDraw.Draw(picture)
                radius = draw.uniform(20, 60)
                x, y = draw.uniform(radius, 160 - radius, 2)
                pen.polygon(_polygon(x, y, radius, kind + 3, draw.uniform(0, np.pi)), fill=_color(draw, gray))
                (folder / split / f"corners_{kind + 3}").mkdir(parents=True, exist_ok=True)
                picture.save(folder / split / f"corners_{kind + 3}" / f"{number:04}.png")

    return write


def _arrows(folder: Path, splits: Splits, draw: np.random.Generator) -> None:
    """Writes a table of points of a bent gray arm with four joints, among other lines."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("base", "elbow", "wrist", "tip")
    lines = ["image,split," + ",".join(f"{name}_x,{name}_y" for name in names)]
    for split, count in splits.items():
        for number in range(count):
            picture = texture(draw, 240, 320, gray=True)
            pen = ImageDraw.Draw(picture)
            for _ in range(4):
                pen.line(
                    [tuple(draw.uniform([0, 0], [320, 240])) for _ in range(2)], fill=int(draw.integers(256)), width=3
                )
            start, angle = draw.uniform([110, 80], [210, 160]), draw.uniform(0, 2 * np.pi)
            points = [start]
            for bend in (0.0, *draw.uniform(-1.2, 1.2, 2)):
                angle += bend
                points.append(points[-1] + 32 * np.array([math.cos(angle), math.sin(angle)]))
            for end in range(3):
                pen.line([tuple(points[end]), tuple(points[end + 1])], fill=235, width=9 - 3 * end)
            pen.ellipse((*(points[0] - 7), *(points[0] + 7)), fill=20)
            name = f"{split}_{number:04}.png"
            picture.save(folder / name)
            lines.append(f"{name},{split}," + ",".join(f"{x:.2f},{y:.2f}" for x, y in points))
    (folder / "points.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _bars(folder: Path, splits: Splits, draw: np.random.Generator) -> None:
    """Writes DOTA's text files of bars, squares and arrows of random color and angle, among disks, which are not labeled."""
    for split, count in splits.items():
        for name in ("images", "labelTxt"):
            (folder / split / name).mkdir(parents=True)
        for number in range(count):
            picture, lines = texture(draw, 192, 256), []
            pen = ImageDraw.Draw(picture)
            for _ in range(int(draw.integers(3, 8, endpoint=True))):
                kind, long, angle = int(draw.integers(4)), draw.uniform(24, 64), draw.uniform(0, 2 * np.pi)
                short = long * (draw.uniform(0.2, 0.5), 1.0, 0.5, 1.0)[kind] / (1.0, 2.0, 1.0, 2.0)[kind]
                long = short if kind in (1, 3) else long
                along = 0.5 * long * np.array([math.cos(angle), math.sin(angle)])
                across = 0.5 * short * np.array([-math.sin(angle), math.cos(angle)])
                reach = np.abs(along) + np.abs(across)
                middle = draw.uniform(reach, np.array([256, 192]) - reach)
                corners = [
                    middle - along - across,
                    middle + along - across,
                    middle + along + across,
                    middle - along + across,
                ]
                fill = _color(draw, gray=False)
                if kind == 3:
                    pen.ellipse((*(middle - short / 2), *(middle + short / 2)), fill=fill)
                    continue
                arrow = [middle - along - across, middle + along, middle - along + across]
                pen.polygon([tuple(point) for point in (arrow if kind == 2 else corners)], fill=fill)
                numbers = " ".join(f"{value:.2f}" for point in corners for value in point)
                lines.append(f"{numbers} {('bar', 'square', 'arrow')[kind]} 0\n")
            picture.save(folder / split / "images" / f"{number:04}.png")
            (folder / split / "labelTxt" / f"{number:04}.txt").write_text("".join(lines), encoding="utf-8")


DRAWN_SETS: Mapping[str, DrawnSet] = {
    "tiny_objects": DrawnSet("detect", _boxes((9, 18), (320, 416), (10, 30), gray=False), {"train": 100, "val": 30, "test": 60}),
    "few_gray_boxes": DrawnSet("detect", _boxes((24, 90), (240, 320), (1, 5), gray=True), {"train": 24, "val": 12, "test": 60}),
    "turned_bars": DrawnSet("rotated_boxes", _bars, {"train": 120, "val": 30, "test": 60}),
    "thin_cracks": DrawnSet("segment", _thin, {"train": 60, "val": 20, "test": 40}),
    "few_regions": DrawnSet("segment", _regions, {"train": 22, "val": 10, "test": 40}),
    "imbalanced_classes": DrawnSet("classify", _classes((0.9, 0.07, 0.03), gray=False), {"train": 300, "val": 100, "test": 200}),
    "few_gray_classes": DrawnSet("classify", _classes((0.34, 0.33, 0.33), gray=True), {"train": 30, "val": 30, "test": 150}),
    "gray_arms": DrawnSet("keypoints", _arrows, {"train": 120, "val": 30, "test": 60}),
    "few_arms": DrawnSet("keypoints", _arrows, {"train": 24, "val": 12, "test": 60}),
}  # fmt: skip


def write_set(name: str, folder: Path) -> DrawnSet:
    """Writes a set into a new folder; the same images each time."""
    drawn = DRAWN_SETS[name]
    folder.mkdir(parents=True)
    drawn.write(folder, drawn.splits, np.random.default_rng(0))
    return drawn
