"""Points from COCO files and from DeepLabCut's tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vertebra.annotations.point_boxes import boxes_around
from vertebra.data.check.run import check_data
from vertebra.data.open import detect_format, open_data
from vertebra.data.splits import divide_runs
from vertebra.errors import DataError

Draw = Callable[..., Path]


def coco_file(root: Path, draw_image: Draw, annotations: list[dict[str, Any]], **category: Any) -> Path:
    for name in ("a", "b"):
        draw_image(root / f"{name}.png")
    points = {"keypoints": ["left_eye", "right_eye"], "skeleton": [[1, 2]], **category}
    content = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 5, "name": "cat", **points}, {"id": 9, "name": "stone"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 5, "bbox": [1, 1, 20, 10], "area": 90, **one}
            for number, one in enumerate(annotations)
        ],
    }
    path = root / "train.json"
    path.write_text(json.dumps(content))
    return path


def test_coco(tmp_path: Path, draw_image: Draw) -> None:
    path = coco_file(
        tmp_path,
        draw_image,
        [
            {"keypoints": [3, 4, 2, 9, 8, 1]},
            {"keypoints": [0, 0, 0, 0, 0, 0]},
            {"keypoints": [3, 4, 2, 9, 8, 2], "iscrowd": 1},
            {"category_id": 9},
        ],
    )
    index = open_data(path, "keypoints", "train")
    labels = index.labels["keypoints"]
    assert labels.classes == ("cat",) and labels.points == ("left_eye", "right_eye")
    assert labels.skeleton == ((0, 1),) and labels.flip_pairs == ((0, 1),)
    annotation = index.columns["keypoints"].get(0, (24, 32))
    np.testing.assert_allclose(annotation.points[0], [[3, 4, 2], [9, 8, 1]])
    assert annotation.crowd.tolist() == [False, False, True] and annotation.areas.tolist() == [90, 90, 90]
    assert annotation.known.tolist() == [True, False, False] and annotation.size == (24, 32)
    assert annotation.boxes[0].tolist() == [1, 1, 21, 11]
    assert len(index.columns["keypoints"].get(1, (24, 32)).labels) == 0
    assert any("left_eye and right_eye" in str(note) for note in index.notes)
    assert len(open_data(path, "detect", "train").columns["detect"].get(0, (24, 32)).labels) == 4, "one file, two tasks"


def test_what_coco_leaves_out_is_made_up_and_told(tmp_path: Path, draw_image: Draw) -> None:
    """Objects without box, area or points, and wrong counts."""
    path = coco_file(
        tmp_path,
        draw_image,
        [
            {"keypoints": [10, 4, 2, 20, 8, 1], "area": None, "bbox": None, "num_keypoints": 2},
            {"keypoints": [3, 4, 2, 0, 0, 0], "bbox": [1, 1, 0, 0], "area": 0, "num_keypoints": 2},
            {"keypoints": [0] * 6, "num_keypoints": 0, "area": 12.5},
            {"num_keypoints": 1},
        ],
    )
    index = open_data(path, "keypoints", "train")
    annotation = index.columns["keypoints"].get(0, (24, 32))
    np.testing.assert_allclose(annotation.boxes[:2], [[9, 3, 21, 9], [0, 0, 9, 10]], atol=1e-5)
    np.testing.assert_allclose(annotation.areas, [0.53 * 12 * 6, 0.53 * 12 * 12, 12.5, 90], rtol=1e-5)
    notes = [str(note) for note in index.notes]
    assert "2 objects without a labeled point were passed over: a.png" in notes
    assert "2 objects with a num_keypoints that is wrong were counted anew: a.png" in notes
    report = check_data(path, "keypoints", split="train")
    assert {"2 objects without a labeled point were passed over: a.png"} <= {
        finding.message for finding in report.splits["train"].findings
    }


def test_a_damaged_skeleton_hurts_points_only(tmp_path: Path, draw_image: Draw) -> None:
    for skeleton, message in (([[0, 1]], r"has point -1.*\(in the file from 1\)"),):
        path = coco_file(tmp_path, draw_image, [{"keypoints": [3, 4, 2, 9, 8, 1]}], skeleton=skeleton)
        with pytest.raises(DataError, match=message):
            open_data(path, "keypoints", "train")
        assert len(open_data(path, "detect", "train")) == 2


def test_boxes_around_points() -> None:
    points = np.array(
        [
            [[10, 10, 2], [30, 20, 1], [99, 99, 0]],
            [[50, 50, 2], [0, 0, 0], [0, 0, 0]],
            [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        ],
        dtype=np.float32,
    )
    np.testing.assert_allclose(boxes_around(points), [[8, 8, 32, 22], [38, 38, 62, 62], [0, 0, 0, 0]])
    np.testing.assert_allclose(boxes_around(points[1:2]), [[34, 34, 66, 66]])
    assert boxes_around(points[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    ("annotation", "category", "message"),
    [
        ({"keypoints": [1, 2, 2, 3, float("nan"), 2]}, {}, "1 object whose keypoints are not x, y and visibility"),
        ({"keypoints": [1, 2, 2]}, {}, "an object of a.png has 1 points, its class has 2"),
        ({}, {"keypoints": []}, "it has boxes, but task 'keypoints' needs points"),
    ],
)
def test_damaged_coco(
    tmp_path: Path, draw_image: Draw, annotation: dict[str, Any], category: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_data(coco_file(tmp_path, draw_image, [annotation], **category), "keypoints", "train")


TABLE = """scorer,me,me,me,me
bodyparts,snout,snout,tail,tail
coords,x,y,x,y
"""


def table(root: Path, draw_image: Draw, rows: list[str], header: str = TABLE) -> Path:
    folder = root / "labeled-data" / "video"
    for row in rows:
        draw_image(root / row.split(",")[0])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "CollectedData_me.csv").write_text(header + "\n".join(rows))
    return root


def test_deeplabcut(tmp_path: Path, draw_image: Draw) -> None:
    rows = [f"labeled-data/video/img{number:02}.png,{number},2,20,12" for number in range(19, -1, -1)]
    rows[0] = "labeled-data/video/img19.png,,,20,12"
    root = table(tmp_path, draw_image, rows)
    assert detect_format(root) == "dlc"
    parts = {split: open_data(root, "keypoints", split) for split in ("train", "val", "test")}
    names = {split: [index.path(row).name for row in range(len(index))] for split, index in parts.items()}
    assert names["train"] == [f"img{number:02}.png" for number in range(16)], "a run of neighbors, in order"
    assert names["val"] == ["img16.png", "img17.png"] and names["test"] == ["img18.png", "img19.png"]
    labels = parts["test"].labels["keypoints"]
    assert labels.classes == ("animal",) and labels.points == ("snout", "tail")
    last = parts["test"].columns["keypoints"].get(1, (24, 32))
    np.testing.assert_allclose(last.points, [[[0, 0, 0], [20, 12, 2]]])
    first = parts["train"].columns["keypoints"].get(4, (24, 32))
    np.testing.assert_allclose(first.points, [[[4, 2, 2], [20, 12, 2]]])
    np.testing.assert_allclose(first.boxes, [[2.4, 0.4, 21.6, 13.6]])
    assert open_data(root, "detect", "train").columns["detect"].get(4, (24, 32)).boxes.shape == (1, 4)


def test_what_a_table_does_not_label(tmp_path: Path, draw_image: Draw) -> None:
    rows = ["labeled-data/video/img0.png,1,NaN,20,12", "labeled-data/video/img1.png,,,nan,nan"]
    index = open_data(table(tmp_path, draw_image, rows), "keypoints", "train", classes=["mouse"])
    assert index.labels["keypoints"].classes == ("mouse",), "a table names no class"
    annotation = index.columns["keypoints"].get(0, (24, 32))
    assert annotation.points.tolist() == [[[0, 0, 0], [20, 12, 2]]] and annotation.labels.tolist() == [0]
    assert annotation.boxes.tolist() == [[4, 0, 32, 24]], "a single point has a box too, here clipped to the image"
    assert annotation.areas == pytest.approx([0.53 * 32 * 32])
    assert len(index.columns["keypoints"].get(1, (24, 32)).labels) == 0
    assert any("1 image without a labeled point was kept" in str(note) for note in index.notes)
    assert open_data(tmp_path, "keypoints", "train", classes=["dog", "animal"]).columns[
        "keypoints"
    ].labels.tolist() == [1]
    with pytest.raises(DataError, match=r"its animals have no names of classes.*here are several \(dog, cat\)"):
        open_data(tmp_path, "keypoints", "train", classes=["dog", "cat"])


def test_several_animals_and_paths_in_three_columns(tmp_path: Path, draw_image: Draw) -> None:
    header = (
        "scorer,,,me,me,me,me,me,me,me,me\nindividuals,,,one,one,one,one,two,two,two,two\n"
        "bodyparts,,,snout,snout,tail,tail,snout,snout,tail,tail\ncoords,,,x,y,x,y,x,y,x,y\n"
    )
    draw_image(tmp_path / "labeled-data" / "video" / "img0.png")
    (tmp_path / "labeled-data" / "video" / "CollectedData_me.csv").write_text(
        header + "labeled-data,video,img0.png,1,2,3,4,5,6,7,8\nlabeled-data,video,lost.png,1,2,3,4,,,,\n"
    )
    index = open_data(tmp_path, "keypoints", "train")
    annotation = index.columns["keypoints"].get(0, (24, 32))
    assert annotation.points[:, :, :2].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert any("lost.png" in str(note) for note in index.notes)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("scorer,a\nx,y\n", "i.png,1,2", "no DeepLabCut table"),
        (TABLE, "i.png,1,2,3", "row 4 is cut off; it has 4 cells"),
        (TABLE, "i.png,1,2,3,b", "row 4: could not convert"),
        (TABLE, "", "it has no image"),
    ],
)
def test_damaged_tables(tmp_path: Path, header: str, row: str, message: str) -> None:
    (tmp_path / "CollectedData_me.csv").write_text(header + row)
    with pytest.raises(DataError, match=message):
        open_data(tmp_path, "keypoints", "train", format="dlc")


def test_doubled_rows(tmp_path: Path, draw_image: Draw) -> None:
    rows = ["a.png,1,2,3,4", "b.png,1,2,,", "a.png,1,2,3,4", "b.png,1,2,,"]
    root = table(tmp_path, draw_image, rows)
    notes = [str(note) for note in open_data(root, "keypoints", "train").notes]
    assert any(
        note.startswith("2 rows of CollectedData") and "a copy of another, were left out" in note for note in notes
    )
    table(tmp_path, draw_image, [*rows, "a.png,1,2,3,5"])
    with pytest.raises(DataError, match=r"image a\.png has two rows with different points; keep one"):
        open_data(root, "keypoints", "train")


def test_tables_that_ask_for_too_much(tmp_path: Path) -> None:
    """Each column a new animal and a new point: a table of n columns would ask for n * n places in each row."""
    columns = 2000
    animals = ",".join(f"a{n // 2}" for n in range(columns))
    parts = ",".join(f"p{n // 2}" for n in range(columns))
    lines = ["scorer," + ",".join(["me"] * columns), "individuals," + animals, "bodyparts," + parts]
    lines += ["coords," + ",".join(["x", "y"] * (columns // 2)), "a.png" + "," * columns]
    (tmp_path / "CollectedData_me.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="1000 animals and 1000 points, but only 1000 columns for them"):
        open_data(tmp_path, "keypoints", "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("3,4", "3,1e300"), "row 4: 1e[+]300 is not a position in an image; empty the cell"),
        (lambda text: text.replace("3,4", "inf,4"), "row 4: inf is not a position in an image"),
        (lambda text: text.replace("coords,x,y", "coords,x,x"), "the row 'coords' must be x, y, x, y"),
        (lambda text: text.replace("bodyparts,", "bodyparts,more,"), "the row 'bodyparts' has 6 cells"),
        (lambda text: text.replace("a.png", '"' + "a" * 200_000), "damaged, no table of cells"),
        (lambda text: text.replace("a.png", "\udcff"), "not text in UTF-8"),
    ],
)
def test_tables_that_are_damaged(tmp_path: Path, draw_image: Draw, change: Callable[[str], str], message: str) -> None:
    root = table(tmp_path, draw_image, ["a.png,1,2,3,4"])
    file = next(root.rglob("*.csv"))
    file.write_bytes(change(file.read_text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=message) as caught:
        open_data(root, "keypoints", "train")
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (
            {"bbox": [1, 1, 1e38, 1e38]},
            "1 object with a box far outside of its image was given the box around its points",
        ),
        ({"keypoints": [3, 4, 2, 1e38, 8, 1]}, "1 object whose keypoints are not x, y and visibility of each point"),
        ({"area": "big"}, "1 object with an area that is no number was taken as without one"),
    ],
)
def test_damaged_numbers_of_an_object_are_counted(
    tmp_path: Path, draw_image: Draw, change: dict[str, Any], note: str
) -> None:
    right = {"keypoints": [3, 4, 2, 9, 8, 1]}
    path = coco_file(tmp_path, draw_image, [{**right, "bbox": [2, 2, 9, 9]}, {**right, **change}])
    index = open_data(path, "keypoints", "train")
    assert note in "; ".join(map(str, index.notes))
    annotation = index.columns["keypoints"].get(0, (24, 32))
    assert np.isfinite(annotation.boxes).all() and annotation.areas.max() < 1000
    assert annotation.points[0].tolist() == [[3, 4, 2], [9, 8, 1]]


def test_runs_are_each_row_once() -> None:
    for count in (1, 2, 7, 116):
        parts = [
            divide_runs(count, {"train": 0.8, "val": 0.1, "test": 0.1}, split) for split in ("train", "val", "test")
        ]
        assert np.concatenate(parts).tolist() == list(range(count))


def test_checks_tell_points_outside(tmp_path: Path, draw_image: Draw) -> None:
    root = table(
        tmp_path, draw_image, [f"labeled-data/video/img{number}.png,{10 * number},2,20,12" for number in range(10)]
    )
    report = check_data(root, "keypoints")
    assert report.splits["train"].classes == {"keypoints": {"animal": 8}}
    assert any(
        "point" in finding.message and "reaching out" in finding.message for finding in report.splits["train"].findings
    )


def test_the_real_mouse(assets: Path) -> None:
    root = assets / "keypoints" / "openfield_mouse"
    counts = {split: len(open_data(root, "keypoints", split)) for split in ("train", "val", "test")}
    assert counts == {"train": 93, "val": 11, "test": 12}
    labels = open_data(root, "keypoints", "train").labels["keypoints"]
    assert labels.points == ("snout", "leftear", "rightear", "tailbase") and labels.flip_pairs == ((1, 2),)


def test_real_people(assets: Path) -> None:
    index = open_data(assets / "keypoints" / "coco_tiny" / "test_coco.json", "keypoints", "train")
    labels = index.labels["keypoints"]
    assert labels.classes == ("person",) and len(labels.points) == 17 and len(labels.flip_pairs) == 8
    assert labels.oks_sigmas[0] == 0.026
