"""Training decodes JPEG files at a reduced scale where crops are small on the canvas; annotations stay exact, damage is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vertebra.data.open import open_data
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Source
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment

ANNOTATION = (
    "<annotation><size><width>{1}</width><height>{0}</height></size><object><name>box</name><bndbox><xmin>{2}</xmin>"
    "<ymin>{3}</ymin><xmax>{4}</xmax><ymax>{5}</ymax></bndbox></object></annotation>"
)
SPEC = ResizeSpec((96, 128))


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Large photographs of a white box on black, as VOC."""
    folders = [tmp_path / name for name in ("JPEGImages", "Annotations", "ImageSets/Main")]
    for folder in folders:
        folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(12):
        height, width = int(draw.integers(700, 900)), int(draw.integers(900, 1100))
        left, top = int(draw.integers(100, 300)), int(draw.integers(100, 300))
        right, bottom = left + int(draw.integers(200, 400)), top + int(draw.integers(200, 300))
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        pixels[top:bottom, left:right] = 255
        Image.fromarray(pixels).save(folders[0] / f"{number}.jpg", quality=95)
        text = ANNOTATION.format(height, width, left + 1, top + 1, right, bottom)
        (folders[1] / f"{number}.xml").write_text(text)
    (folders[2] / "train.txt").write_text("\n".join(map(str, range(12))))
    return tmp_path


def data_of(root: Path, reduced: bool) -> MixedData:
    index = open_data(root, "detect", "train")
    augment = Augment(brightness=0, contrast=0, saturation=0, hue=0)
    source = Source(index, {"boxes": "detect"})
    return MixedData([source], {"boxes": index.labels["detect"]}, SPEC, augment, reduced_decoding=reduced)


def test_boxes_fit_their_reduced_images(boxes: Path) -> None:
    reduced, whole = data_of(boxes, True), data_of(boxes, False)
    differences, checked = [], 0
    for row in range(len(reduced)):
        for epoch in range(4):
            sample, full = (data[SampleKey(0, row, epoch, row)] for data in (reduced, whole))
            differences.append((sample.image.int() - full.image.int()).abs().float().mean().item())
            (rows, columns) = torch.where(sample.image[0, : sample.size[0], : sample.size[1]] > 127)
            if not len(rows) or not len(sample.targets["boxes"].boxes):
                continue
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(sample.targets["boxes"].boxes[0], seen, atol=1.01)
            checked += 1
    assert checked > 30
    assert np.mean(differences) < 1.5 and max(differences) > 0  # reduced, and hardly different


def test_damaged_files_are_replaced_and_counted(boxes: Path) -> None:
    data = data_of(boxes, True)
    paths = [data.sources[0].index.path(row) for row in (3, 5)]
    paths[0].write_bytes(paths[0].read_bytes()[:3000])
    paths[1].write_bytes(b"\xff\xd8\xff")
    for row, path in zip((3, 5), paths, strict=True):
        first = data[SampleKey(0, row, 0, row)].skipped[0]
        assert first.path == str(path)
        assert "damaged or cut off" in first.reason or "not an image" in first.reason
