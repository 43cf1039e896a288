"""What readers leave out, or take in another way, is counted in a note."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.data.readers import all_readers

Make = Callable[..., Path]


def noted(path: Path, name: str, split: str | None = None) -> list[str]:
    reader = all_readers()[name]
    return [str(note) for note in reader.load(path, split, ReadOptions()).notes]  # type: ignore[attr-defined]


def test_label_studio(tmp_path: Path, draw_image: Make) -> None:
    draw_image(tmp_path / "a.png")
    base = {"id": "r", "original_width": 32, "original_height": 24}
    box = {"x": 10, "y": 10, "width": 20, "height": 20}
    results = [
        {**base, "type": "rectanglelabels", "value": {**box, "rectanglelabels": ["dog"]}},
        {**base, "type": "textarea", "value": {**box, "text": ["a note"]}},
        {**base, "id": "s", "type": "choices", "from_name": "age", "value": {**box, "choices": ["old"]}},
    ]
    annotations = [{"result": [], "was_cancelled": True}, {"result": results}, {"id": 5}]
    entry = {"id": 1, "data": {"image": "a.png"}, "annotations": annotations, "predictions": [{"result": results}]}
    (tmp_path / "project.json").write_text(json.dumps([entry]))
    assert noted(tmp_path, "label_studio") == [
        "1 annotation that was cancelled was left out: a.png",
        "1 annotation without a list of results was dropped: a.png",
        "1 task with predictions was read without them: a.png",
        "1 result of type textarea was left out: a.png",
        "1 choice of a region that is not read was left out: a.png",
    ]


def test_masks_of_objects(tmp_path: Path, draw_image: Make) -> None:
    (tmp_path / "masks").mkdir()
    for name in ("a", "b", "c"):
        draw_image(tmp_path / "images" / f"{name}.png")
    for name in ("a_1", "a_2", "b_1", "b_2", "lost_1"):
        Image.fromarray(np.full((24, 32), 255, dtype=np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    notes = noted(tmp_path, "mask_folder")
    assert "1 mask without an image was left out: lost_1.png" in notes
    assert "1 image without a mask was kept as images with nothing in them: c.png" in notes


def test_tables_and_rows_beside_the_splits(tmp_path: Path, draw_image: Make) -> None:
    for number in range(4):
        draw_image(tmp_path / "images" / f"{number}.png")
    rows = [
        f"{number}.png,{'cat' if number % 2 else 'dog'},{split}"
        for number, split in enumerate(["train", "val", "", "train"])
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label,split", *rows]) + "\n")
    (tmp_path / "camera.csv").write_text("lens,weight\nwide,3\n")
    notes = noted(tmp_path, "table", "train")
    assert "1 image of no split, where others are of one, was left out: 2.png" in notes
    assert "1 table without a column of images, or of what is read of them, was left aside: camera.csv" in notes


def test_polygons_of_voc_and_images_beside_the_splits(tmp_path: Path, draw_image: Make) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    for name in ("a", "b"):
        draw_image(tmp_path / "voc" / "JPEGImages" / f"{name}.png")
        text = f"<annotation><object><name>dog</name>{box}<polygon><x1>1</x1></polygon></object></annotation>"
        file = tmp_path / "voc" / "Annotations" / f"{name}.xml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert noted(tmp_path / "voc", "voc") == ["2 objects with a <polygon> were read as boxes: a.xml, b.xml"]
    for split in ("train", "val"):
        draw_image(tmp_path / "folders" / split / "cat" / "1.png")
    draw_image(tmp_path / "folders" / "stray.png")
    assert "1 image beside the class folders was left out: stray.png" in noted(tmp_path / "folders", "image_folder")
