"""Tables of points, as CelebA, Kaggle and small tools write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.open import open_data, readings
from vertebra.data.readers.landmarks import LandmarkReader
from vertebra.errors import DataError

Make = Callable[..., Path]
NAMES = ("left_eye", "right_eye", "nose")
CELEBA = (
    "3\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y\n"
    "a.png  4  5   20 6   12 9\nb.png 5 5 21 6 13 9\nc.png 6 5 22 6 14 9\n"
)


@pytest.fixture
def tables(tmp_path: Path, draw_image: Make) -> Make:
    """Makes images 24 high and 32 wide, and text files by name."""

    def make(files: dict[str, str], images: Sequence[str] = ("a", "b", "c"), at: str = "images/{}.png") -> Path:
        for name in images:
            draw_image(tmp_path / at.format(name))
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return make


def load(path: Path, split: str | None = None, **options: object) -> Annotations:
    return LandmarkReader().load(path, split, ReadOptions(**options))  # type: ignore[arg-type]


def notes_of(annotations: Annotations) -> str:
    return "\n".join(map(str, annotations.notes))


@pytest.mark.parametrize(
    "header",
    [
        "image,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y",
        "file;left_eye X;left_eye Y;right_eye X;right_eye Y;nose X;nose Y",
        "filename\tx_left_eye\ty_left_eye\tx_right_eye\ty_right_eye\tx_nose\ty_nose",
        "id,left_eye.x,left_eye.y,right_eye.x,right_eye.y,nose.x,nose.y",
        "image_id,x1,y1,x2,y2,x3,y3",
        ",0,1,2,3,4,5",
    ],
)
def test_names_of_columns(tables: Make, header: str) -> None:
    separator = next(letter for letter in header if letter in ",;\t")
    rows = (
        separator.join(["a.png", "4", "5", "20", "6", "12", "9.5"])
        + "\n"
        + separator.join(["b.png", "1", "2", "", "", "3", "4"])
    )
    root = tables({"points.csv": f"{header}\n{rows}\n"})
    annotations = load(root)
    expected = NAMES if "eye" in header else ("1", "2", "3") if "x1" in header else ("0", "1", "2")
    assert annotations.categories[0].points == expected and annotations.category_names == ("object",)
    points = [[4, 5, 2], [20, 6, 2], [12, 9.5, 2], [1, 2, 2], [0, 0, 0], [3, 4, 2]]
    assert annotations.objects.points.tolist() == points and not annotations.objects.has_box.any()
    assert readings(root, "keypoints") == ["landmarks"] and "table" not in readings(root, "classify")
    labels = open_data(root, "keypoints", "train").labels["keypoints"]
    assert labels.points == expected and (labels.flip_pairs == ((0, 1),)) == ("eye" in header)


def test_classes_boxes_visibility_and_splits(tables: Make) -> None:
    root = tables(
        {
            "t.csv": "image,class,split,xmin,ymin,xmax,ymax,tip_x,tip_y,tip_v,end_x,end_y,end_v\n"
            "a.png,fly,train,1,2,30,20,4,5,2,6,7,1\na.png,bee,train,2,2,9,9,4,4,2,5,5,0\nb.png,fly,test,1,1,8,8,-1,-1,0,2,3,2\n"
        }
    )
    annotations = load(root)
    assert annotations.category_names == ("bee", "fly") and annotations.objects.categories.tolist() == [1, 0, 1]
    assert annotations.objects.boxes.tolist() == [[1, 2, 30, 20], [2, 2, 9, 9], [1, 1, 8, 8]]
    assert annotations.objects.points[:, 2].tolist() == [2, 1, 2, 0, 0, 2]
    assert LandmarkReader().splits(root) == ("train", "test") and len(load(root, "test")) == 1
    assert "1 point with negative x and y was taken as not labeled: t.csv" in notes_of(annotations)


def test_a_published_test_file_is_not_divided_again(tables: Make) -> None:
    rows = ",0,1,2,3,4,5\n{},4,5,20,6,12,9\n"
    files = {f"{split}_keypoints.csv": rows.format(f"{name}.png") for split, name in (("training", "a"), ("test", "b"))}
    root = tables(files, ("training/a", "test/b"), "{}.png")
    assert LandmarkReader().splits(root) == ("train", "test")
    test = open_data(root, "keypoints", "test")
    assert [test.path(row).name for row in range(len(test))] == ["b.png"]


def test_celeba(tables: Make) -> None:
    partition = "a.png 0\nb.png 1\nc.png 2\n"
    root = tables({"Anno/list_landmarks_align_celeba.txt": CELEBA, "Eval/list_eval_partition.txt": partition})
    assert LandmarkReader().splits(root) == ("train", "val", "test")
    val = load(root, "val")
    assert val.objects.points.tolist() == [[5, 5, 2], [21, 6, 2], [13, 9, 2]]
    assert val.categories[0].points == ("lefteye", "righteye", "nose")
    assert "3 splits of the images were taken from a published list: list_eval_partition.txt" in notes_of(val)
    (root / "Anno/list_landmarks_celeba.txt").write_text(CELEBA)
    with pytest.raises(
        DataError, match="its images are those of list_landmarks_align_celeba.txt; name one of the tables"
    ):
        load(root)
    assert len(load(root / "Anno/list_landmarks_celeba.txt")) == 3


def test_shares_of_the_image_and_bad_cells(tables: Make) -> None:
    root = tables({"t.csv": "image,tip_x,tip_y,end_x,end_y\na.png,0.5,0.25,0,0\nb.png,0.25,0.5,nan,0.5\nc.png,,,,\n"})
    annotations = load(root)
    np.testing.assert_allclose(annotations.objects.points, [[16, 6, 2], [0, 0, 0], [8, 12, 2], [0, 0, 0]])
    listed = notes_of(annotations)
    assert len(annotations) == 3 and annotations.objects.rows.tolist() == [0, 1]
    assert "2 points of t.csv in 0..1 were multiplied by the width and height of its image" in listed
    assert "1 point at 0, 0 was taken as not labeled" in listed and "1 point whose x or y is no number" in listed
    assert "1 row without a labeled point was kept as an image with nothing in it" in listed


def test_refusals(tables: Make) -> None:
    root = tables({"a.csv": "image,tip_x,tip_y\na.png,1,2\n", "b.csv": "image,end_x,end_y\nb.png,1,2\n"})
    with pytest.raises(DataError, match=r"b\.csv: its points \(end\) are not those of a\.csv \(tip\)"):
        load(root)
    (root / "b.csv").write_text("image,tip_x;tip_y\n")
    (root / "a.csv").write_text("image;tip_x;tip_y\na.png;1,5;2,5\n")
    with pytest.raises(DataError):
        load(root)


def test_pixels_in_a_table_are_no_images(tables: Make) -> None:
    root = tables({"training.csv": "left_eye_center_x,left_eye_center_y,Image\n66.0,39.0,238 236 237\n"})
    assert readings(root, "keypoints") == []
    with pytest.raises(DataError, match="its column 'Image' holds pixels"):
        load(root)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet='abx.png,;"\n\t|1234567890-e[] \u00e9', max_size=120), st.binary(max_size=40))
def test_damaged_tables_give_notes_or_one_error(tables: Make, text: str, content: bytes) -> None:
    root = tables({})
    for whole in (b"image,tip_x,tip_y\na.png,1," + text.encode(), b"image,tip_x,tip_y\na.png,1,2\n" + content, content):
        (root / "t.csv").write_bytes(whole)
        try:
            open_data(root / "t.csv", "keypoints", "train", format="landmarks")
        except DataError as error:
            assert "t.csv" in str(error)
