"""Areas of objects that no image can have are replaced by that of the box."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.data.open import open_data


@pytest.mark.parametrize("area", [-1e300, 1e300, 0.0, -5.0])
@pytest.mark.filterwarnings("error")
def test_an_impossible_area_is_that_of_the_box(tmp_path: Path, area: float) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 20, 10], "area": area, "iscrowd": 0}
    points = {"keypoints": [10, 10, 2, 20, 15, 2], "num_keypoints": 2}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [{**entry, **points}],
        "categories": [{"id": 1, "name": "arm", "keypoints": ["base", "tip"]}],
    }
    (tmp_path / "points.json").write_text(json.dumps(content))
    index = open_data(tmp_path, "keypoints", "train")
    annotation = index.columns["keypoints"].get(0, (48, 64))
    sound = (
        open_data(_with_area(tmp_path, content, 0.53 * 200), "keypoints", "train").columns["keypoints"].get(0, (48, 64))
    )
    assert np.isfinite(annotation.areas).all() and annotation.areas == pytest.approx(sound.areas, rel=0.01)


def _with_area(folder: Path, content: dict, area: float) -> Path:  # type: ignore[type-arg]
    other = folder / "other"
    other.mkdir()
    Image.new("RGB", (64, 48)).save(other / "a.png")
    (entry,) = content["annotations"]
    (other / "points.json").write_text(json.dumps({**content, "annotations": [{**entry, "area": area}]}))
    return other
