"""YOLO: the layouts of Ultralytics, Roboflow, Darknet and labelling tools, and the kinds of lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.open import open_data, readings
from vertebra.data.readers.image_sizes import image_sizes
from vertebra.data.readers.yolo import YoloReader
from vertebra.errors import DataError
from vertebra.preprocess.images import image_size

Make = Callable[..., Path]
BOX = "1 0.5 0.25 0.25 0.5\n"
YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


@pytest.fixture
def yolo(tmp_path: Path, draw_image: Make) -> Make:
    """Makes images 24 high and 32 wide at ``{0}`` and label files at ``{1}`` from ``{"train/a": text}``; None for no file."""

    def make(
        files: Mapping[str, str | None], yaml: str = YAML, images: str = "images/{}.png", labels: str = "labels/{}.txt"
    ) -> Path:
        for name, text in files.items():
            split, _, stem = name.rpartition("/")
            draw_image(tmp_path / images.format(name, split=split, stem=stem))
            if text is not None:
                file = tmp_path / labels.format(name, split=split, stem=stem)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
        if yaml:
            (tmp_path / "data.yaml").write_text(yaml, encoding="utf-8")
        return tmp_path

    return make


def load(path: Path, split: str | None = "train", **options: object) -> Annotations:
    return YoloReader().load(path, split, ReadOptions(**options))  # type: ignore[arg-type]


def notes_of(annotations: Annotations) -> list[str]:
    return [str(note) for note in annotations.notes]


def test_boxes_in_pixels_of_the_ultralytics_layout(yolo: Make) -> None:
    root = yolo({"train/a": BOX + "0 0.1 0.1 0.2 0.2\n", "train/b": "", "val/c": BOX})
    index = open_data(root, "detect", "train")
    assert index.labels["detect"].classes == ("cat", "dog")
    annotation = index.columns["detect"].get(0, (24, 32))
    np.testing.assert_allclose(annotation.boxes, [[12, 0, 20, 12], [0, 0, 6.4, 4.8]], atol=1e-5)
    assert annotation.labels.tolist() == [1, 0]
    assert index.columns["detect"].labeled.all() and not index.notes
    assert YoloReader().splits(root) == ("train", "val")
    whole = load(root, None)
    assert whole.splits is not None and whole.splits.tolist() == [0, 0, 1]
    assert whole.name(2) == "c.txt" and whole.sizes.tolist() == [[24, 32], [0, 0], [24, 32]]
    assert readings(root, "detect") == ["yolo"] == readings(root, "classify")


@pytest.mark.parametrize(
    ("yaml", "images", "labels"),
    [
        ("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n",
         "{split}/images/{stem}.png", "{split}/labels/{stem}.txt"),
        ("path: ../datasets/x\ntrain: images/train\nval: images/valid\nnames: {0: cat, 1: dog}\n",
         "images/{split}/{stem}.png", "labels/{split}/{stem}.txt"),
        ("train: /content/x/Images/train\nval: 'C:\\x\\Images\\valid'\nnames: {'0': cat, '1': dog}\n",
         "Images/{split}/{stem}.png", "Labels/{split}/{stem}.txt"),
        ("train: [images/train]\nval: [images/valid]\nnames:\n- cat\n- dog\n",
         "images/{split}/more/{stem}.png", "labels/{split}/more/{stem}.txt"),
        ("train: nowhere\nnames: [cat, dog]\n", "{split}/images/{stem}.png", "{split}/labels/{stem}.txt"),
        ("", "{split}/images/{stem}.png", "{split}/labels/{stem}.txt"),
        ("", "image/{split}/{stem}.png", "label/{split}/{stem}.txt"),
        ("", "{split}/{stem}.png", "{split}/{stem}.txt"),
    ],
)  # fmt: skip
def test_layouts(yolo: Make, yaml: str, images: str, labels: str) -> None:
    root = yolo({"train/a": BOX, "train/b": BOX, "valid/c": BOX}, yaml, images, labels)
    if not yaml:
        (root / "classes.txt").write_text("cat\ndog\n")
    for split, count in (("train", 2), ("val", 1)):
        annotations = load(root, split)
        assert len(annotations) == count and annotations.category_names == ("cat", "dog")
        np.testing.assert_allclose(annotations.objects.boxes[0], [12, 0, 20, 12])
    assert readings(root, "detect") == ["yolo"]


def test_lists_of_images(yolo: Make) -> None:
    yaml = "train: [train.txt, images/more]\nval: val.txt\nnames: [cat, dog]\n"
    root = yolo({"all/a": BOX, "all/b": BOX, "all/c": BOX, "more/d": BOX}, yaml)
    (root / "train.txt").write_text("./images/all/b.png\n/somewhere/else/images/all/a.png\n")
    (root / "val.txt").write_text("images\\all\\c.png\n")
    train = load(root)
    assert [train.path(row).name for row in range(3)] == ["b.png", "a.png", "d.png"]
    assert "1 image named by a path that does not exist here was taken by the end of" in notes_of(train)[0]
    assert len(load(root, "val")) == 1
    with pytest.raises(DataError, match=r"val\.txt: its images are not found"):
        (root / "val.txt").write_text("../../../etc/lost.png\n")
        load(root, "val")


def test_darknet(yolo: Make) -> None:
    root = yolo({"a": BOX, "b": BOX, "c": None}, "", "obj_train_data/{}.png", "obj_train_data/{}.txt")
    (root / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nvalid = data/test.txt\nnames = data/obj.names\n"
    )
    (root / "obj.names").write_text("cat\ndog\n")
    (root / "train.txt").write_text("data/obj_train_data/a.png\ndata/obj_train_data/c.png\n")
    (root / "test.txt").write_text("data/obj_train_data/b.png\n")
    annotations = load(root)
    assert annotations.category_names == ("cat", "dog") and len(annotations) == 2
    assert "1 image without a label file was read as images without objects: c.png" in notes_of(annotations)
    assert len(load(root, "val")) == 1
    (root / "obj.data").unlink()
    assert load(root, "test").category_names == ("cat", "dog")  # by the lists alone


def test_names_without_a_description(yolo: Make) -> None:
    root = yolo({"a": BOX, "b": "7 0.5 0.5 0.1 0.1\n"}, "")
    annotations = load(root, None)
    assert annotations.category_names == ("1", "7") and annotations.objects.categories.tolist() == [0, 1]
    assert notes_of(annotations) == ["2 classes without a name were named by its id; list names in classes.txt: 1, 7"]
    named = load(root, None, classes=tuple("abcdefgh"))
    assert named.category_names[7] == "h"
    (root / "data.yaml").write_text("train: images\nnc: 9\n")
    assert load(root).category_names[7] == "class_7"


def test_outlines_and_oriented_boxes(yolo: Make) -> None:
    outline = "0 0.25 0.25 0.75 0.25 0.5 0.75\n"
    root = yolo({"train/a": outline + BOX, "val/b": "1 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5\n"})
    train = load(root)
    assert train.objects.has_shape.tolist() == [True, False] and train.objects.has_box.tolist() == [False, True]
    assert train.objects.shapes is not None
    assert train.objects.shapes.points.tolist() == [8, 6, 24, 6, 16, 18]
    assert notes_of(train) == [
        "1 line with a class and the corners of an outline was read as outlines: a.txt",
        "1 line with a box among outlines was read as boxes only: a.txt",
    ]
    val = load(root, "val")
    assert "oriented boxes" in notes_of(val)[0]
    boxes = open_data(root, "detect", "val").columns["detect"].get(0, (24, 32)).boxes
    np.testing.assert_allclose(boxes, [[3.2, 2.4, 28.8, 21.6]], rtol=1e-6)
    mask = open_data(root, "segment", "val", multilabel=True).columns["segment"].get(0, (24, 32))
    assert mask is not None


def test_points(yolo: Make) -> None:
    yaml = YAML + "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nkpt_names: {0: [nose, eye a, eye b]}\n"
    line = "0 0.5 0.5 0.5 0.5 0.5 0.5 2 0.25 0.5 1 0 0 0\n"
    root = yolo({"train/a": line, "val/b": line}, yaml)
    train = load(root)
    assert train.objects.points.tolist() == [[16, 12, 2], [8, 12, 1], [0, 0, 0]]
    assert train.categories[0].points == ("nose", "eye a", "eye b") and train.categories[0].flip_pairs == ((1, 2),)
    labels = open_data(root, "keypoints", "train", classes=["cat"]).labels["keypoints"]
    assert labels.flip_pairs == ((1, 2),)
    (root / "data.yaml").write_text(YAML + "kpt_shape: [2, 2]\n")
    (root / "labels/train/a.txt").write_text("0 0.5 0.5 0.5 0.5 0.5 0.25 0 0\n")
    flat = load(root)
    assert flat.objects.points.tolist() == [[16, 6, 2], [0, 0, 0]]
    assert "1 point at 0, 0 was taken as not labeled: a.txt" in notes_of(flat)
    (root / "labels/train/a.txt").write_text("0 0.5 0.5 0.5 0.5 0.5 0.25 -1 -1\n0 0.5 0.5 0.5 0.5 0.5 1e300 0 0\n")
    far = load(root)
    assert far.objects.points.tolist() == [[16, 6, 2], [0, 0, 0]] and far.dropped == 1
    (root / "data.yaml").write_text(YAML + "kpt_shape: [0, 5]\n")
    with pytest.raises(DataError, match=r"'kpt_shape' must be \[number of points, 2 or 3\]"):
        load(root)


def test_points_by_the_numbers_alone(yolo: Make) -> None:
    line = "0 0.5 0.5 0.5 0.5 0.5 0.5 2 0.25 0.5 1 0 0 0\n"
    root = yolo({"train/a": line + line.replace("0.25", "0.3"), "train/b": line, "val/c": line})
    train = load(root)
    assert train.objects.has_points.all() and train.categories[0].points == ("0", "1", "2")
    assert "kpt_shape" in notes_of(train)[0]


def test_confidences_are_attributes(yolo: Make) -> None:
    root = yolo({"train/a": "0 0.5 0.5 0.1 0.1 0.75\n", "val/b": "0 0.1 0.1 0.2 0.1 0.2 0.2 0.5\n"})
    train = load(root)
    assert train.objects.attributes == ({"confidence": 0.75},)
    assert load(root, "val").objects.attributes == ({"confidence": 0.5},)
    assert "as predictions have" in notes_of(train)[0]


def test_bad_lines_are_dropped_and_named(yolo: Make) -> None:
    bad = {
        "a": BOX * 3,
        "b": BOX + "0 0.5 0.5 -0.1 0.1\n",
        "c": BOX + "0 0.5 0.5 nan 0.1\n",
        "d": BOX + "0 0.5 0.5 0.1\n",
        "e": BOX + "5 0.5 0.5 0.1 0.1\n",
        "f": BOX + "0.5 0.5 0.5 0.1 0.1\n",
        "g": BOX + "0 1.5 0.5 0.1 0.1\n",
        "h": BOX + "cat 0.5 0.5 0.1 0.1\n",
        "i": BOX + "0 1.005 0.5 0.1 0.1\n",
    }
    root = yolo({f"train/{name}": text for name, text in bad.items()} | {"val/z": BOX})
    (root / "labels/train/lost.txt").write_text(BOX)
    (root / "labels/train.cache").write_bytes(b"\x93NUMPY")
    annotations = load(root)
    assert len(annotations.objects) == 10 and annotations.dropped == 6
    assert notes_of(annotations) == [
        "1 label file without an image was left out: lost.txt",
        "1 line with words that are no numbers was dropped: h.txt",
        "2 lines repeating another of its image were left out: a.txt",
        "1 line with a value that is not finite was dropped: c.txt",
        "1 line with another number of values than the format has was dropped: d.txt",
        "1 line whose class is no whole number from 0 was dropped: f.txt",
        "1 line with a box of negative width or height was dropped: b.txt",
        "1 line with coordinates beyond 0..1 was dropped: g.txt",
        "1 line of class ids that have no name (there are 2 names) was dropped: id 5",
    ]


def test_pixels_and_ids_from_one_are_refused(yolo: Make) -> None:
    root = yolo({"train/a": "0 10 10 4 4\n1 12 9 3 3\n", "val/b": "1 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.1 0.1\n"})
    with pytest.raises(DataError, match=r"a\.txt: 2 of 2 lines have coordinates up to 12, but YOLO's are shares"):
        load(root)
    with pytest.raises(DataError, match="the class ids go from 1 to 2, but they count from 0"):
        load(root, "val")


def test_a_split_without_label_files(yolo: Make) -> None:
    root = yolo({"train/a": BOX, "val/b": None})
    with pytest.raises(DataError, match="none of its 1 images has a label file"):
        load(root, "val")
    whole = load(root, None)
    assert whole.annotated.tolist() == [True, False]
    assert "1 image of a split without label files was taken as not annotated: b.png" in notes_of(whole)


def test_damaged_images_and_files(yolo: Make) -> None:
    root = yolo({"train/a": BOX, "train/b": BOX, "val/c": BOX})
    (root / "images/train/a.png").write_bytes(b"no image")
    (root / "labels/val/c.txt").write_bytes(b"\xff\xfe\x00\x01")
    annotations = load(root)
    assert len(annotations) == 1 and len(annotations.objects) == 1
    assert notes_of(annotations) == ["1 image that cannot be read was left out with its objects: images/train/a.png"]
    assert notes_of(load(root, "val")) == ["1 label file not readable as text in UTF-8 was read as empty: c.txt"]


def test_the_description_stays_in_its_folder(yolo: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = yolo({"train/a": BOX}, "")
    other = tmp_path_factory.mktemp("other")
    (other / "data.yaml").write_text(f"path: {root}\ntrain: images/train\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"are read if you name .*data\.yaml itself"):
        load(other)
    assert len(load(other / "data.yaml")) == 1


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: images\nnames: []\n", "'names' names no class"),
        ("train: images\nnames: {a: b}\n", "the keys of 'names' must be class ids"),
        ("train: images\nnames: 7\n", "'names' must be a list of class names"),
        ("train: images\nnames: lost.names\n", r"its file of class names, lost\.names, is not found"),
    ],
)
def test_damaged_descriptions(yolo: Make, yaml: str, message: str) -> None:
    root = yolo({"train/a": BOX}, yaml)
    with pytest.raises(DataError, match=message):
        open_data(root, "detect", "train")


def test_unicode_forms_and_upper_case_endings(yolo: Make) -> None:
    name = "caf\u00e9"
    root = yolo({f"train/{name}": None, "val/b": BOX})
    decomposed = unicodedata.normalize("NFD", name)
    (root / "labels/train").mkdir(parents=True)
    (root / f"labels/train/{decomposed}.TXT").write_text(BOX, encoding="utf-8-sig")
    assert len(load(root).objects) == 1 and load(root).name(0) == f"{decomposed}.TXT"


def test_a_folder_of_labels_with_ids_of_another_list(yolo: Make) -> None:
    root = yolo({"train/a": BOX, "val/b": BOX})
    for split, name, ids in (("train", "a", 3), ("val", "b", 9)):
        file = root / "outlines" / split / f"{name}.txt"
        file.parent.mkdir(parents=True)
        file.write_text(f"{ids} 0.25 0.25 0.75 0.25 0.5 0.75\n")
    assert "1 folder of further label files was left aside; to read it, name it: outlines" in notes_of(load(root))
    annotations = load(root / "outlines")
    assert annotations.category_names == ("3", "9") and annotations.objects.has_shape.all()
    assert "not those of the 2 names of data.yaml" in notes_of(annotations)[0]


def test_sizes_are_those_of_upright_images(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20))
    names = []
    for orientation in (1, 3, 6, 8):
        for suffix in ("jpg", "png", "webp"):
            names.append(f"{orientation}.{suffix}")
            exif = Image.Exif()
            exif[0x0112] = orientation
            picture.save(tmp_path / names[-1], exif=exif)
    names += ["plain.jpg", "plain.png", "gray.bmp"]
    for name in names[-3:]:
        picture.save(tmp_path / name)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "6.jpg").read_bytes()[:30])
    sizes = image_sizes(tmp_path, [*names, "cut.jpg", "lost.png"])
    assert sizes[-2:].tolist() == [[0, 0], [0, 0]]
    assert sizes[:-2].tolist() == [list(image_size(tmp_path / name)) for name in names]
    assert sizes[6].tolist() == [40, 20]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet="0123456789.-e nxi\t", max_size=40), max_size=6), st.binary(max_size=60))
def test_damaged_label_files_give_notes_or_one_error(yolo: Make, lines: list[str], content: bytes) -> None:
    root = yolo({"train/a": "\n".join(lines), "train/b": BOX, "val/c": BOX})
    (root / "labels/train/b.txt").write_bytes(content)
    for task in ("detect", "keypoints", "segment"):
        try:
            open_data(root, task, "train")
        except DataError as error:
            assert str(root) in str(error) or ".txt" in str(error)
