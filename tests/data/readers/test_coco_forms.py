"""COCO files as other programs write them: other forms of outlines, names of images, attributes, encodings."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.annotations import shapes as shapes_module
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.data.open import open_data
from vertebra.data.readers.coco import CocoReader
from vertebra.data.readers.coco_content import content_of
from vertebra.data.readers.coco_json import AnnotationEntry, PanopticEntry, _decode_slowly, decode_coco
from vertebra.errors import DataError

Make = Callable[..., Path]
SIZE = (24, 32)
SQUARE = [2, 3, 7, 3, 7, 8, 2, 8]
FORMS: list[Any] = [
    [SQUARE],
    SQUARE,
    [str(value) for value in SQUARE],
    [[2, 3], [7, 3], [7, 8], [2, 8]],
    [[[2, 3], [7, 3], [7, 8], [2, 8]]],
    [[*SQUARE[:6], "2", 8]],
    [SQUARE, [], [1, 1]],
    [[*SQUARE, 9]],
    [[2.0, 3.0, 7.0, 3.0, 7.0, 8.0, 2.0, 8.0]],
]


def one(image: int, category: int, box: Any, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, **more}


def load(path: Path) -> Annotations:
    return CocoReader().load(path, None, ReadOptions())


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_outlines_of_any_unambiguous_form(coco: Make, form: Any) -> None:
    path = coco([one(10 + i, 7, [0, 0, 1, 1], segmentation=form) for i in range(3)])
    index = open_data(path, "segment", "train")
    mask = index.columns["segment"].get(0, SIZE).mask
    assert mask.sum() == 25 and mask[3:8, 2:7].all()
    boxes = open_data(coco([one(10 + i, 7, None, segmentation=form) for i in range(3)]), "detect", "train")
    assert boxes.columns["detect"].get(0, SIZE).boxes.tolist() == [[2, 3, 7, 8]]


def test_what_is_left_of_an_outline_is_noted(coco: Make) -> None:
    shapes = [[SQUARE, [1, 1, 5, 5]], [[*SQUARE, 9]], [[]], [SQUARE]]
    path = coco([one(10 + i % 3, 7, [i, 0, 1, 1], segmentation=shape) for i, shape in enumerate(shapes)])
    notes = [str(note) for note in open_data(path, "segment", "train").notes]
    assert "2 outlines of fewer than three points were dropped: 0.png, 2.png" in notes
    assert "1 outline with an odd number of coordinates was read without the last one: 1.png" in notes
    assert not any("outline" in str(note) for note in open_data(path, "detect", "train").notes)


@pytest.mark.parametrize("shape", [[[]], [[1, 2, 3, 4]]])
def test_outlines_that_all_enclose_nothing_end_the_reading(coco: Make, shape: Any) -> None:
    path = coco([one(10 + i % 3, 7, [i, 0, 1, 1], segmentation=shape) for i in range(12)])
    with pytest.raises(
        DataError, match=r"12 of its 12 annotations.*12 outlines of fewer than three points were dropped"
    ):
        open_data(path, "segment", "train")
    assert len(open_data(path, "detect", "train")) == 2


def test_outlines_on_a_line_enclose_nothing(coco: Make) -> None:
    flat = [[1, 1, 5, 5, 9, 9], [3.1, 3, 3.1, 7, 3.1, 9]]
    shapes = [
        [flat[0]],
        [SQUARE, flat[0]],
        flat,
        [SQUARE],
        {"size": list(SIZE), "counts": [768]},
        [[0.5, 0.5, 0.6, 0.5, 0.6, 0.6]],
    ]
    path = coco([one(10 + i % 3, 7, [i, 0, 1, 1], segmentation=shape) for i, shape in enumerate(shapes)])
    read = load(path).objects.shapes
    assert read is not None and read.enclosing.tolist() == [False, True, False, True, True, True]
    notes = [str(note) for note in open_data(path, "segment", "train").notes]
    assert "2 objects whose outline encloses nothing were dropped: 0.png, 2.png" in notes
    path = coco([one(10 + i % 3, 7, [i, 0, 1, 1], segmentation=[flat[i % 2]]) for i in range(12)])
    with pytest.raises(
        DataError, match="12 of its 12 annotations.*12 objects whose outline encloses nothing were dropped"
    ):
        open_data(path, "segment", "train")


def test_the_areas_of_many_outlines(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    entries = []
    for number in range(50):
        line = draw.uniform(0, 50, (draw.integers(3, 9), 2)).round(1)
        if number % 3 == 0:
            line[:, 1] = 2 * line[:, 0] + 1
        entries.append([line.reshape(-1).tolist()])
    for chunk in (7, 1000):
        monkeypatch.setattr(shapes_module, "_CHUNK", chunk)
        assert (Shapes.of(entries).enclosing == (np.arange(50) % 3 > 0)).all()


def test_outlines_mixed_with_run_lengths_keep_their_order(coco: Make) -> None:
    runs = {"size": list(SIZE), "counts": [24 * 9, 24, 24 * 22]}
    shapes = [[SQUARE], runs, None, [], [SQUARE, [20, 1, 25, 1, 25, 6]]] * 3000  # more than a chunk
    entries = [one(10 + i % 3, 7, [i % 20, i // 20, 1, 1], segmentation=shape) for i, shape in enumerate(shapes)]
    shapes_read = load(coco(entries)).objects.shapes
    assert shapes_read is not None
    bounds = shapes_read.bounds()
    for number in (0, 5, 4990, 14995):
        assert bounds[number].tolist() == [2, 3, 7, 8] and bounds[number + 1].tolist() == [9, 0, 10, 24]
        assert np.isnan(bounds[number + 2 : number + 4]).all() and bounds[number + 4].tolist() == [2, 1, 25, 8]


def test_shares_of_the_image_are_refused(coco: Make) -> None:
    box, outline = [0.1, 0.2, 0.3, 0.25], [[0.1, 0.2, 0.4, 0.2, 0.4, 0.45]]
    points = {"keypoints": [0.2, 0.3, 2, 0.5, 0.5, 1], "num_keypoints": 2}
    path = coco([one(10, 7, box, segmentation=outline, **points)])
    content = json.loads(path.read_text())
    content["categories"][0]["keypoints"] = ["a", "b"]
    path.write_text(json.dumps(content))
    for task, noun in (("detect", "boxes"), ("segment", "outlines"), ("keypoints", "points")):
        with pytest.raises(DataError, match=f"all {noun} are from 0 to 1; these seem to be shares of the image"):
            open_data(path, task, "train")
    for task in ("detect", "segment"):  # a small object is one
        boxes = [one(10, 7, [0, 0, 1, 1], segmentation=[[0, 0, 1, 0, 1, 1, 0, 1]])]
        assert len(open_data(coco(boxes), task, "train")) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda name: f"images\\{name}",
        lambda name: f"..\\images\\{name}",
        lambda name: f"C:\\Users\\me\\data\\images\\{name}",
        lambda name: f"/home/other/data/images/{name}",
        lambda name: name.upper(),
    ],
)
def test_image_names_of_another_computer(coco: Make, change: Callable[[str], str]) -> None:
    images = [{"id": 10 + i, "file_name": change(f"{i}.png")} for i in range(3)]
    annotations = load(coco([one(10 + i, 7, [1, 1, 4, 4]) for i in range(3)], images_=images))
    assert annotations.images.tolist() == [b"images/0.png", b"images/1.png", b"images/2.png"]
    assert [note.count for note in annotations.notes] == [3]


def test_composed_names(coco: Make, draw_image: Make) -> None:
    path = coco([one(10, 7, [1, 1, 4, 4])], images=1)
    draw_image(path.parent / "images" / unicodedata.normalize("NFC", "größe.png"))
    names = ["0.png", unicodedata.normalize("NFD", "größe.png")]
    images = [{"id": 10 + i, "file_name": name} for i, name in enumerate(names)]
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": images}))
    assert load(path).path(1).is_file()


def test_images_of_several_folders(coco: Make, draw_image: Make) -> None:
    path = coco([one(10 + i, 7, [1, 1, 4, 4]) for i in range(4)], images=2)
    draw_image(path.parent / "more" / "2.png")
    draw_image(path.parent / "more" / "deep" / "3.png")
    images = [{"id": 10 + i, "file_name": f"{i}.png"} for i in range(4)]
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": images}))
    annotations = load(path)
    assert all(annotations.path(row).is_file() for row in range(4)) and len(annotations) == 4
    assert [(note.count, note.names) for note in annotations.notes] == [(2, ("2.png", "3.png"))]


def test_one_image_under_two_names(coco: Make) -> None:
    images = [
        {"id": 10, "file_name": "0.png"},
        {"id": 11, "file_name": "images/0.png"},
        {"id": 12, "file_name": "1.png"},
    ]
    annotations = load(coco([one(10 + i, 7, [i, 1, 4, 4]) for i in range(3)], images_=images))
    assert annotations.images.tolist() == [b"images/0.png", b"images/1.png"]
    assert annotations.objects.rows.tolist() == [0, 0, 1]
    assert str(annotations.notes[-1]) == "1 image that the file lists under several names was merged: 0.png"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings(coco: Make, encoding: str) -> None:
    path = coco([one(10, 7, [1, 1, 4, 4])])
    path.write_bytes(path.read_text().encode(encoding))
    assert len(open_data(path, "detect", "train", format="coco")) == 2
    if encoding == "utf-8-sig":
        assert len(open_data(path.parent, "detect", "train")) == 2


def test_ids_areas_and_attributes_are_kept(coco: Make) -> None:
    attributes = {"occluded": True, "color": "red"}
    entries = [one(11, 7, [1.25, 1, 4, 4], id=900, area=7.5, attributes=attributes), one(10, 3, [1, 1, 4, 4], id="b")]
    annotations = load(coco([*entries, one(10, 3, [2, 1, 4, 4], id=3.5)]))
    objects = annotations.objects
    assert objects.ids == (900, "b", 3.5) and objects.attributes == (attributes, {}, {})
    assert (
        objects.rows.tolist() == [1, 0, 0]
        and objects.areas[0] == 7.5
        and objects.boxes[0].tolist() == [1.25, 1, 5.25, 5]
    )
    assert annotations.image_ids == (10, 11, 12) and annotations.sizes.tolist() == [list(SIZE)] * 3


_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
)
_any = st.recursive(
    _values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_entry = st.fixed_dictionaries(
    {"id": _values, "image_id": st.integers(0, 3), "category_id": st.just(1)},
    optional={
        "bbox": _any,
        "area": _any,
        "iscrowd": _any,
        "segmentation": _any,
        "attributes": _any,
        "keypoints": _any,
        "num_keypoints": _any,
        "score": _any,
    },
)
_images = [{"id": i, "file_name": f"{i}.jpg", "height": 5, "width": 6} for i in range(3)]


@given(st.lists(_entry, max_size=5))
def test_both_decoders_give_the_same(entries: list[dict[str, Any]]) -> None:
    content = {"images": _images, "annotations": entries, "categories": [{"id": 1, "name": "a"}]}
    data, file = json.dumps(content).encode(), Path("a.json")
    results = []
    for decoded in (decode_coco(data, file), _decode_slowly(data, file, AnnotationEntry)):
        try:
            content_read = content_of(decoded, file)
            objects = content_read.objects
            shape = None if objects.shapes is None else objects.shapes.points.tolist()
            texts = [str(note) for note in content_read.notes]
            columns = [
                getattr(objects, name).tolist() for name in ("rows", "crowd", "areas", "points", "point_offsets")
            ]
            results.append(
                (str(columns), str(objects.boxes.tolist()), objects.ids, str(objects.attributes), shape, texts)
            )
        except DataError as error:
            results.append((str(error),))
    assert str(results[0]) == str(results[1])


def test_panoptic_entries_by_both_decoders() -> None:
    entry = {
        "image_id": 1,
        "file_name": "0.png",
        "segments_info": [{"id": 1, "category_id": 1, "area": 3, "more": [1]}],
    }
    content = {"images": _images, "annotations": [entry], "categories": [{"id": 1, "name": "a"}]}
    data = json.dumps(content).encode()
    fast, slow = decode_coco(data, Path("a.json"), PanopticEntry), _decode_slowly(data, Path("a.json"), PanopticEntry)
    assert msgspec.to_builtins(fast.annotations) == msgspec.to_builtins(slow.annotations)


def test_the_json_of_a_run_folder_is_no_coco_file(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"data": {"train": {"images": 16, "annotations": "41c8"}}}))
    assert not CocoReader().looks_like(tmp_path)
