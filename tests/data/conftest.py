"""Small data sets on disk, drawn when a test asks for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Draw = Callable[..., Path]


@pytest.fixture
def draw_image() -> Draw:
    """Writes an image of one color, other ones for other names: (path, height, width)."""

    def draw(path: Path, height: int = 24, width: int = 32) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        color = np.random.default_rng(list(str(path.name).encode())).integers(0, 256, 3, dtype=np.uint8)
        Image.fromarray(np.broadcast_to(color, (height, width, 3)).copy()).save(path)
        return path

    return draw


@pytest.fixture
def draw_scene() -> Draw:
    """Writes an image of colored rectangles, unlike any other one of another seed: (path, height, width)."""

    def draw(path: Path, height: int = 96, width: int = 128, *, seed: str = "", quality: int = 90) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(list((seed or path.name).encode()))
        image = np.full((height, width, 3), draw.integers(0, 256, 3), dtype=np.uint8)
        for top, left, down, across in (
            (draw.random((25, 4)) * [height, width, height / 2, width / 2]).astype(int).tolist()
        ):
            image[top : top + down + 2, left : left + across + 2] = draw.integers(0, 256, 3)
        noise = draw.integers(-12, 13, image.shape)
        options = {"quality": quality} if path.suffix == ".jpg" else {}
        Image.fromarray(np.clip(image + noise, 0, 255).astype(np.uint8)).save(path, **options)
        return path

    return draw


@pytest.fixture
def class_folders(tmp_path: Path, draw_image: Draw) -> Callable[..., Path]:
    """Makes an image folder from ``{"train/cat": 3}``."""

    def make(counts: dict[str, int], suffix: str = "png") -> Path:
        for folder, count in counts.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                draw_image(tmp_path / folder / f"{folder.replace('/', '_')}_{number}.{suffix}")
        return tmp_path

    return make


@pytest.fixture
def coco(tmp_path: Path, draw_image: Draw) -> Callable[..., Path]:
    """Makes a COCO file with images 24 high and 32 wide, of ids 10, 11 …"""

    def make(
        annotations: Sequence[dict[str, Any]],
        *,
        images: int = 3,
        categories: Sequence[tuple[int, str]] = ((7, "dog"), (3, "cat")),
        name: str = "set.json",
        folder: str = "images",
        **changes: Any,
    ) -> Path:
        entries = [{"id": 10 + i, "file_name": f"{i}.png", "height": 24, "width": 32} for i in range(images)]
        for entry in entries:
            draw_image(tmp_path / folder / str(entry["file_name"]))
        content: dict[str, Any] = {
            "images": entries,
            "annotations": [{"id": i, "iscrowd": 0, **one} for i, one in enumerate(annotations)],
            "categories": [{"id": key, "name": label} for key, label in categories],
            **{key.rstrip("_"): value for key, value in changes.items()},
        }
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return make


@pytest.fixture
def voc(tmp_path: Path, draw_image: Draw) -> Callable[..., Path]:
    """Makes a VOC folder: objects (class, xmin, ymin, xmax, ymax, difficult) by image name, and lists by split."""

    def make(
        objects: dict[str, Sequence[tuple[Any, ...]]],
        lists: dict[str, Sequence[str]] | None = None,
        size: tuple[int, int] = (24, 32),
    ) -> Path:
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        for name, marked in objects.items():
            draw_image(tmp_path / "JPEGImages" / f"{name}.png")
            body = "".join(
                f"<object><name>{one[0]}</name><difficult>{int(len(one) > 5 and one[5])}</difficult><bndbox>"
                f"<xmin>{one[1]}</xmin><ymin>{one[2]}</ymin><xmax>{one[3]}</xmax><ymax>{one[4]}</ymax></bndbox></object>"
                for one in marked
            )
            shape = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
            (tmp_path / "Annotations" / f"{name}.xml").write_text(f"<annotation>{shape}{body}</annotation>")
        for split, names in (lists or {}).items():
            place = tmp_path / "ImageSets" / "Main" / f"{split}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("".join(f"{name}\n" for name in names))
        return tmp_path

    return make


@pytest.fixture
def masks(tmp_path: Path, draw_image: Draw) -> Callable[..., Path]:
    """Makes parallel folders ``images`` and ``masks`` from masks by name, such as ``{"train/a": array}``."""

    def make(arrays: dict[str, np.ndarray], ending: str = "", images: str = "images", labels: str = "masks") -> Path:
        for name, array in arrays.items():
            draw_image(tmp_path / images / f"{name}.jpg", *array.shape[:2])
            place = tmp_path / labels / f"{name}{ending}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(place)
        return tmp_path

    return make
