"""What each writer changes, leaves out and says."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.drawing import patch_runs
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.table import Annotations, Category
from vertebra.data.convert import write_data
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.writers import all_writers
from vertebra.data.writers.base import Target
from vertebra.data.writers.coco import exact_coco_boxes
from vertebra.data.writers.kinds import category_map
from vertebra.errors import DataError

SIZE = (24, 32)
TRIANGLE = np.array([2.0, 2, 12, 2, 2, 12])
Build = Callable[..., AnnotationBuilder]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A builder with some images, drawn below ``images``."""

    def make(*names: str, splits: tuple[int, ...] = (), **options: Any) -> AnnotationBuilder:
        builder = AnnotationBuilder(tmp_path / "images", tmp_path)
        for number, name in enumerate(names or ("a.png",)):
            (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", SIZE[::-1], (number, 0, 0)).save(tmp_path / "images" / name)
            builder.image(name, size=SIZE, split=splits[number] if splits else -1, **options)
        return builder

    return make


def written(builder: AnnotationBuilder, to: str, folder: Path, **options: Any) -> list[str]:
    """The notes about a data set that is written."""
    return [str(note) for note in write_data(builder.build(), to, Target(folder, **options))]


def load(reader: str, folder: Path) -> Annotations:
    chosen = all_readers()[reader]
    assert isinstance(chosen, AnnotationReader)
    return chosen.load(folder, None, ReadOptions())


def rich(builder: AnnotationBuilder) -> None:
    """Adds an object with everything that formats may lack."""
    builder.category(Category("dog", 7, "animal", ("nose", "tail"), ((0, 1),)))
    builder.label(0, "dog")
    points = np.array([[3.0, 4, 2], [5, 6, 1]])
    values: dict[str, Any] = {"crowd": True, "area": 9.5, "id": 3, "attributes": {"pose": "sitting"}}
    builder.object(0, "dog", box=(2, 3, 9, 9), shape=Segmentation((TRIANGLE,)), points=points, **values)


@pytest.mark.parametrize(
    ("to", "lost"),
    [
        ("coco", {"1 class of a whole image was left out: a.png"}),
        (
            "yolo",
            {
                "1 class of a whole image was left out: a.png",
                "1 image with an id was written without it: a.png",
                "1 object with an id was written without it: a.png",
                "1 object with an area was written without it: a.png",
                "1 object that is a crowd, or does not count, was written as any other: a.png",
                "1 object with further attributes was written without them: a.png",
                "1 class with an id was written without it: dog",
                "1 class with a skeleton, a color or a class above it was written without these: dog",
                "1 object with an outline beside its points was written without the outline: a.png",
                "1 image of no split was written as one of train",
            },
        ),
        (
            "voc",
            {
                "1 class of a whole image was left out: a.png",
                "1 object with an outline or a mask was written without it: a.png",
                "1 object with points was written without them: a.png",
                "1 object with hidden points was written with them as visible: a.png",
                "1 image with an id was written without it: a.png",
                "1 object with an id was written without it: a.png",
                "1 object with an area was written without it: a.png",
                "1 class with an id was written without it: dog",
                "1 class with a skeleton, a color or a class above it was written without these: dog",
            },
        ),
        ("tar", set()),
    ],
)
def test_what_a_format_cannot_hold_is_counted(to: str, lost: set[str], build: Build, tmp_path: Path) -> None:
    builder = build("a.png", id=5)
    rich(builder)
    assert set(written(builder, to, tmp_path / "out")) == lost


@pytest.mark.parametrize("box", [None, (2, 3, 9, 9)])
def test_labelme_counts_classes_that_no_shape_has(box: tuple[int, ...] | None, build: Build, tmp_path: Path) -> None:
    builder = build("a.png")
    builder.category(Category("dog", points=("nose", "tail")))
    builder.object(0, "dog", box=box, points=np.array([[3.0, 4, 2], [5, 6, 2]]))
    lost = "1 object of only points with a class was written without it, to be read as class 'object': a.png"
    assert written(builder, "labelme", tmp_path / "out") == ([lost] if box is None else [])


def test_voc_keeps_plain_attributes(build: Build, tmp_path: Path) -> None:
    builder = build("a.png")
    for attributes in ({"pose": "Left", "truncated": True}, {"occluded": "1", "color": "red", "tags": ["x"]}, {}):
        builder.object(0, "dog", box=(2, 3, 9, 9), attributes=attributes)
    (note,) = [note for note in written(builder, "voc", tmp_path / "out") if "attributes" in note]
    assert note == "1 object with attributes that are no text and no number was written without these: a.png"
    assert load("voc", tmp_path / "out").objects.attributes == (
        {"pose": "Left", "truncated": "1"},
        {"pose": "Unspecified", "truncated": "0", "occluded": "1", "color": "red"},
        {"pose": "Unspecified", "truncated": "0"},
    )


def test_tables_have_a_column_for_each_attribute(build: Build, tmp_path: Path) -> None:
    builder = build("a.png")
    values = (
        {"color": "red", "worn": True, "note": "a"},
        {"color": "red", "marks": ["x", "y"], "note": "b", "Label": "z"},
        {},
    )
    for number, attributes in enumerate(values):
        builder.object(0, "dog", box=(2, 3, 9 + number, 9), attributes=attributes)
    notes = written(builder, "csv", tmp_path / "out")
    assert "1 attribute whose name stands for another column was left out: Label" in notes
    read = load("table", tmp_path / "out").objects.attributes
    assert read == ({"color": "red", "worn": "true"}, {"color": "red", "marks": "x;y"}, {}), "each note is another one"
    chosen = all_readers()["table"]
    assert isinstance(chosen, AnnotationReader)
    asked = chosen.load(tmp_path / "out", None, ReadOptions(attribute="note")).objects.attributes
    assert asked is not None and [each.get("note") for each in asked] == ["a", "b", None]


def test_coco_sides_have_the_fewest_digits(build: Build, tmp_path: Path) -> None:
    builder = build("a.png")
    sides = [[2.08, 3.95, 7.71, 4.71], [1 / 3, 0.25, 2 / 3, 0.1]]
    for left, top, width, height in sides:
        builder.object(0, "dog", box=(left, top, left + width, top + height))
    written(builder, "coco", tmp_path / "out")
    document = json.loads((tmp_path / "out/annotations/instances.json").read_text())
    boxes = [entry["bbox"] for entry in document["annotations"]]
    assert boxes[0] == sides[0]
    assert boxes[1][0] + boxes[1][2] == sides[1][0] + sides[1][2] and boxes[1][3] == 0.1


def test_images_are_the_same_bytes_and_links_on_demand(build: Build, tmp_path: Path) -> None:
    builder = build("a.png", "sub/b.png")
    builder.object(0, "dog", box=(1, 2, 3, 4))
    for mode in ("copy", "link", "none"):
        written(builder, "coco", tmp_path / mode, images=mode)
        for name in ("a.png", "sub/b.png"):
            before, after = tmp_path / "images" / name, tmp_path / mode / "images" / name
            assert after.exists() == (mode != "none")
            if after.exists():
                assert after.read_bytes() == before.read_bytes() and after.samefile(before) == (mode == "link")


def test_images_of_one_name_are_renamed(build: Build, tmp_path: Path) -> None:
    builder = build("x/a.png", "y/a.png", "y/a.jpg")
    builder.object(2, "dog", box=(1, 2, 3, 4))
    notes = written(builder, "voc", tmp_path / "out")
    assert "2 images whose name another has, or which cannot be written, were renamed" in notes[0]
    assert sorted(file.name for file in (tmp_path / "out" / "JPEGImages").iterdir()) == [
        "a.png",
        "y_a-2.jpg",
        "y_a.png",
    ]
    read = load("voc", tmp_path / "out")
    assert [read.path(row).name for row in np.unique(read.objects.rows)] == ["y_a-2.jpg"]


def test_a_name_that_no_list_can_hold_is_changed(build: Build, tmp_path: Path) -> None:
    builder = build("a\nb.png", splits=(0,))
    builder.object(0, "dog", box=(1, 2, 3, 4))
    for to in ("coco", "yolo", "voc", "csv"):
        assert any("a_b.png" in note for note in written(builder, to, tmp_path / to))


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=2), st.lists(st.floats(0, 1e4), min_size=2, max_size=2))
def test_boxes_of_a_coco_file_are_written_as_they_were(corner: list[float], sides: list[float]) -> None:
    builder = AnnotationBuilder(Path(), Path())
    builder.image("a.png")
    edges = [*corner, *(np.array(corner) + np.array(sides)).tolist()]  # as the reader has them
    builder.object(0, "dog", box=edges)
    annotations = builder.build()
    notes: list[Any] = []
    boxes = exact_coco_boxes(annotations.objects.boxes, annotations, notes)
    assert (boxes[:, :2] + boxes[:, 2:]).tolist() == [edges[2:]] and not notes


def test_coco_fills_in_what_it_needs(build: Build, tmp_path: Path) -> None:
    builder = build("a.png", "b.png", splits=(0, 1))
    builder.object(0, "dog", shape=Segmentation((TRIANGLE,)))
    builder.object(1, "dog", box=(1, 2, 4, 6), id=1)
    notes = written(builder, "coco", tmp_path / "out")
    assert notes == ["1 object without a box was written with the box around the outline, mask or points: a.png"]
    files = [json.loads((tmp_path / "out/annotations" / f"instances_{s}.json").read_text()) for s in ("train", "val")]
    [first], [second] = (file["annotations"] for file in files)
    assert first == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [2, 2, 10, 10],
        "segmentation": [TRIANGLE.tolist()],
        "area": 50,
        "iscrowd": 0,
    }
    assert (second["id"], second["bbox"], second["area"]) == (1, [1, 2, 3, 4], 12)
    assert files[1]["images"] == [{"id": 2, "file_name": "b.png", "width": 32, "height": 24}]


def test_ids_that_two_objects_share_are_replaced_with_a_note(build: Build, tmp_path: Path) -> None:
    builder = build()
    for side in (4, 5):
        builder.object(0, "dog", box=(1, 2, side, 6), id=9)
    notes = written(builder, "coco", tmp_path / "out")
    assert notes == ["2 objects with an id that another has, too, were numbered anew with all of its file"]
    assert load("coco", tmp_path / "out").objects.ids == (1, 2)


def test_yolo_clips_to_the_image_and_keeps_boxes_without_area(build: Build, tmp_path: Path) -> None:
    builder = build(splits=(0,))
    for box in ((-4, 2, 8, 30), (5, 5, 5, 9), (40, 2, 50, 9), (9, 9, 5, 12), (np.nan, 1, 2, 3)):
        builder.object(0, "dog", box=box)
    assert written(builder, "yolo", tmp_path / "out") == [
        "1 box with a side that is no number was left out: a.png",
        "1 object without a box, an outline or points was left out: a.png",
        "2 boxes reaching out of the image were clipped: a.png",
        "2 objects outside of its image, or with sides in reverse, were left out: a.png",
    ]
    boxes = load("yolo", tmp_path / "out").objects.boxes
    np.testing.assert_allclose(boxes, [[0, 2, 8, 24], [5, 5, 5, 9]], atol=1e-9)


def test_yolo_joins_parts_and_traces_masks(build: Build, tmp_path: Path) -> None:
    builder = build(splits=(0,))
    mask = np.zeros(SIZE, dtype=bool)
    mask[4:12, 5:20] = True
    mask[6:8, 7:9] = False
    builder.object(0, "dog", shape=Segmentation((TRIANGLE, TRIANGLE + 10)))
    builder.object(0, "cat", shape=patch_runs([(mask, 0, 0)], SIZE))
    assert written(builder, "yolo", tmp_path / "out") == [
        "1 object of several outlines was joined to one by lines without width: a.png",
        "1 object with a mask was written as the outline of its pixels: a.png",
    ]
    read = load("yolo", tmp_path / "out").objects
    assert read.shapes is not None and (read.shapes.draw(1, SIZE) == mask).all()
    drawn = builder.build().objects.shapes
    assert drawn is not None and (read.shapes.draw(0, SIZE) == drawn.draw(0, SIZE)).all()


def test_yolo_tells_nothing_of_outlines_that_it_does_not_write(build: Build, tmp_path: Path) -> None:
    builder = build(splits=(0,))
    points = np.array([[3.0, 4, 2]])
    builder.object(0, "dog", box=(2, 3, 9, 9), shape=Segmentation((TRIANGLE, TRIANGLE + 100)), points=points)
    assert written(builder, "yolo", tmp_path / "out") == [
        "1 object with an outline beside its points was written without the outline: a.png"
    ]


def test_yolos_description_has_points_and_lists(build: Build, tmp_path: Path) -> None:
    builder = build("b.png", "a.png", splits=(0, 0))
    builder.category(Category("mouse", None, "", ("nose", "left", "right"), (), None, ((1, 2),)))
    builder.object(0, "mouse", box=(1, 2, 9, 9), points=np.array([[3, 4, 2], [40, 2, 2], [0, 0, 0]]))
    notes = written(builder, "yolo", tmp_path / "out")
    assert "1 point outside of its image was written as not labeled: b.png" in notes
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text()) == {
        "train": "train.txt",
        "kpt_shape": [3, 3],
        "kpt_names": {0: ["nose", "left", "right"]},
        "flip_idx": [0, 2, 1],
        "names": {0: "mouse"},
    }
    read = load("yolo", tmp_path / "out")
    assert [read.path(row).name for row in range(2)] == ["b.png", "a.png"], "a list keeps the order"
    assert read.categories[0].flip_pairs == ((1, 2),) and read.objects.points[:, 2].tolist() == [2, 0, 0]


def test_masks_are_drawn_with_small_objects_in_front(build: Build, tmp_path: Path) -> None:
    builder = build("a.png", "b.png")
    square = np.array([4.0, 4, 8, 4, 8, 8, 4, 8])
    builder.object(0, "dog", shape=Segmentation((square,)))
    builder.object(0, "cat", shape=Segmentation((square * 2 - 6,)))
    builder.object(0, "dog", box=(1, 2, 3, 4))
    notes = written(builder, "masks", tmp_path / "out")
    assert notes == [
        "1 object without an outline or a mask was left out: a.png",
        "2 objects were drawn as pixels of the class: a.png",
        "1 object in front of an object of another class was drawn over it: a.png",
    ]
    mask = np.asarray(Image.open(tmp_path / "out/masks/a.png"))
    assert np.bincount(mask.ravel()).tolist() == [24 * 32 - 64, 16, 48]
    read = load("mask_folder", tmp_path / "out")
    assert read.category_names == ("background", "dog", "cat")


@given(seed=st.integers(0, 10**6), classes=st.integers(1, 5))
def test_masks_are_the_same_pixels_through_all_formats_that_hold_them(
    seed: int, classes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("masks")
    names = tuple(f"class {number}" for number in range(classes))
    mask = np.random.default_rng(seed).integers(0, classes, SIZE).astype(np.uint8)
    builder = AnnotationBuilder(folder / "images", folder)
    (folder / "images").mkdir()
    Image.new("RGB", SIZE[::-1]).save(folder / "images/a.png")
    builder.image("a.png", size=SIZE)
    for name in names:
        builder.category(Category(name))
    for number in np.unique(mask).tolist():
        builder.object(0, names[number], shape=patch_runs([(mask == number, 0, 0)], SIZE))
    write_data(builder.build(), "masks", Target(folder / "masks"))
    read = load("mask_folder", folder / "masks")
    assert read.category_names == names and read.masks is not None
    none = np.zeros(0, dtype=np.int64)
    np.testing.assert_array_equal(category_map(read, read.masks, 0, none), mask)
    write_data(read, "masks", Target(folder / "again"))
    again = (folder / "again/masks/a.png").read_bytes()
    assert again == (folder / "masks/masks/a.png").read_bytes(), "a mask of class numbers is copied"
    for to in ("coco", "labelme"):
        write_data(read, to, Target(folder / to))
        objects = load(to, folder / to)
        drawn = np.full(SIZE, 255, dtype=np.uint8)
        assert objects.objects.shapes is not None
        for number in range(len(objects.objects)):
            name = objects.category_names[int(objects.objects.categories[number])]
            drawn[objects.objects.shapes.draw(number, SIZE)] = names.index(name)
        np.testing.assert_array_equal(drawn, mask)


def test_tar_shards_hold_everything_and_can_be_read_in_parts(build: Build, tmp_path: Path) -> None:
    builder = build(*(f"{number}.png" for number in range(5)), splits=(0, 0, 0, 0, 1))
    rich(builder)
    notes = written(builder, "tar", tmp_path / "out", shard_bytes=4000)
    assert not notes
    data_set = json.loads((tmp_path / "out/dataset.json").read_text())
    assert data_set["classes"][0] | {"name": "dog", "id": 7, "points": ["nose", "tail"]} == data_set["classes"][0]
    assert [(shard["file"], shard["split"], shard["samples"]) for shard in data_set["shards"]] == [
        ("train-000000.tar", "train", 1),
        ("train-000001.tar", "train", 1),
        ("train-000002.tar", "train", 1),
        ("train-000003.tar", "train", 1),
        ("val-000000.tar", "val", 1),
    ] or sum(shard["samples"] for shard in data_set["shards"]) == 5
    names = []
    for shard in data_set["shards"]:
        index = json.loads((tmp_path / "out" / shard["index"]).read_text())
        content = (tmp_path / "out" / shard["file"]).read_bytes()
        parts = zip(index["names"], index["starts"], index["sizes"], strict=True)
        members = {name: content[start : start + size] for name, start, size in parts}
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            opened = {member.name: tar.extractfile(member) for member in tar}
            assert {name: file.read() for name, file in opened.items() if file is not None} == members
        for key in (name.removesuffix(".json") for name in members if name.endswith(".json")):
            sample = json.loads(members[f"{key}.json"])
            names.append(sample["file_name"])
            assert members[f"{key}.png"] == (tmp_path / "images" / sample["file_name"]).read_bytes()
            if names[-1] == "0.png":
                assert sample["labels"] == ["dog"] and sample["objects"] == [
                    {
                        "class": "dog",
                        "id": 3,
                        "box": [2, 3, 9, 9],
                        "points": [[3, 4, 2], [5, 6, 1]],
                        "crowd": True,
                        "area": 9.5,
                        "segmentation": [TRIANGLE.tolist()],
                        "attributes": {"pose": "sitting"},
                    }
                ]
    assert names == [f"{number}.png" for number in range(5)]


def test_shards_are_limited_in_size(build: Build, tmp_path: Path) -> None:
    builder = build(*(f"{number}.png" for number in range(9)))
    builder.object(0, "dog", box=(1, 2, 3, 4))
    written(builder, "tar", tmp_path / "out", shard_bytes=3 * 2048)
    shards = json.loads((tmp_path / "out/dataset.json").read_text())["shards"]
    assert [shard["samples"] for shard in shards] == [3, 3, 3]
    assert written(builder, "tar", tmp_path / "one") == []
    assert len(json.loads((tmp_path / "one/dataset.json").read_text())["shards"]) == 1
    with pytest.raises(DataError, match="tar shards hold the images themselves"):
        written(builder, "tar", tmp_path / "linked", images="link")


def test_damaged_run_lengths_are_left_out(build: Build, tmp_path: Path) -> None:
    builder = build()
    builder.object(0, "dog", shape=Segmentation(runs=np.array([5, 3]), size=SIZE))
    builder.object(0, "dog", box=(1, 2, 3, 4))
    for to in ("coco", "yolo", "voc", "csv", "labelme", "tar"):
        assert written(builder, to, tmp_path / to)[0] == "1 object with damaged run lengths was left out: a.png"


def test_an_image_that_nobody_annotated(build: Build, tmp_path: Path) -> None:
    builder = build("a.png", splits=(0,))
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "images/b.png")
    builder.image("b.png", size=SIZE, split=0, annotated=False)
    builder.object(0, "dog", box=(1, 2, 3, 4))
    told = {
        to: "\n".join(written(builder, to, tmp_path / to))
        for to in all_writers()
        if to not in ("masks", "image_folder", "coco_panoptic")
    }
    assert "b.png" not in told["tar"] and "written without a JSON file: b.png" in told["labelme"]
    for to in ("coco", "yolo", "voc", "csv"):
        assert "1 image that nobody annotated was written as one without objects: b.png" in told[to]


def test_after_an_error_nothing_is_left(build: Build, tmp_path: Path) -> None:
    builder = build()
    builder.object(0, "dog", box=(1, 2, 3, 4))
    annotations = builder.build()
    (tmp_path / "images/a.png").unlink()
    for to in ("coco", "yolo", "voc", "csv", "labelme", "tar"):
        with pytest.raises(DataError, match=r"a\.png"):
            write_data(annotations, to, Target(tmp_path / "out"))
        assert [entry.name for entry in tmp_path.iterdir()] == ["images"]


def test_kinds_that_a_format_cannot_hold_are_refused(build: Build, tmp_path: Path) -> None:
    builder = build()
    builder.label(0, "dog")
    with pytest.raises(
        DataError, match="it has labels, but yolo holds boxes and masks and outlines and points; use csv or"
    ):
        written(builder, "yolo", tmp_path / "out")
    builder = build()
    builder.object(0, "dog", box=(1, 2, 3, 4))
    with pytest.raises(DataError, match="it has boxes, but masks holds masks and outlines; use coco or"):
        written(builder, "masks", tmp_path / "out")
    bare = replace(builder.build(), categories=())
    with pytest.raises(DataError, match="it has no class"):
        write_data(bare, "coco", Target(tmp_path / "out"))
