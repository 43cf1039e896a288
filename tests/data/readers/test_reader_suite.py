"""What every format has to pass: it joins by an entry in `FORMATS`."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.readers.fake_data_sets import NAMES, Format, content, data_sets, draw_images
from tests.data.readers.fake_writers import FAKE_WRITERS
from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.data.convert import write_data
from vertebra.data.open import detect_format
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.writers import all_writers
from vertebra.data.writers.base import Target
from vertebra.errors import DataError
from vertebra.preprocess.images import read_image

PLAIN = tuple(name.rpartition("/")[2] for name in NAMES)
FORMATS = {
    "coco": Format(
        "coco",
        "coco",
        frozenset({"box", "outline", "parts", "runs", "points", "splits"}),
        frozenset(
            {
                "id",
                "area",
                "crowd",
                "attributes",
                "hidden",
                "image id",
                "class id",
                "class order",
                "all classes",
                "order",
            }
        ),
        exact_boxes=False,  # not every right edge is a sum of two numbers of 64 bits
    ),
    "yolo": Format(
        "yolo",
        "yolo",
        frozenset({"box", "outline", "points", "splits"}),
        frozenset({"hidden", "class order", "all classes", "order of splits"}),
        exact=False,
    ),
    "voc": Format("voc", "voc", frozenset({"box", "splits"}), frozenset({"crowd", "order of splits"})),
    "boxes in a table": Format(
        "table", "csv", frozenset({"box", "splits"}), frozenset({"crowd", "class order", "order"})
    ),
    "labels in a table": Format("table", "csv", frozenset({"labels", "splits"}), frozenset({"class order", "order"})),
    "labelme": Format(
        "labelme",
        "labelme",
        frozenset({"box", "outline", "parts", "runs", "points", "labels", "splits"}),
        frozenset({"crowd", "attributes"}),
    ),
    "dota": Format(
        "dota",
        "dota",
        frozenset({"quadrilateral", "splits"}),
        frozenset({"crowd"}),
        classes=("dog", "cat", "犬", "a&b", "O'Neill"),
    ),
    "cvat": Format("cvat", "fake cvat", frozenset({"box", "splits"}), frozenset({"all classes"})),
    "via": Format("via", "fake via", frozenset({"box"}), exact=False, names=PLAIN),
    "createml": Format("createml", "fake createml", frozenset({"box", "splits"}), exact=False, names=PLAIN),
    "label studio": Format("label_studio", "fake label_studio", frozenset({"box"}), exact=False, names=PLAIN),
    "supervisely": Format(
        "supervisely", "fake supervisely", frozenset({"box", "splits"}), frozenset({"all classes"}), names=PLAIN
    ),
    "tar shards": Format(
        "tar_shards",
        "tar",
        frozenset({"box", "outline", "parts", "runs", "points", "labels", "splits"}),
        frozenset(
            {
                *("id", "area", "crowd", "attributes", "hidden", "image id", "class id", "class order", "all classes"),
                "order",
            }
        ),
    ),
    "image folder": Format("image_folder", "fake image_folder", frozenset({"one label", "splits"}), names=PLAIN),
}
every_format = pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in FORMATS.items()])


def write(form: Format, annotations: Annotations, folder: Path) -> None:
    if form.writer in FAKE_WRITERS:
        folder.mkdir(exist_ok=True)
        FAKE_WRITERS[form.writer](annotations, folder)
    else:
        write_data(annotations, form.writer, Target(folder))


def load(form: Format, folder: Path, split: str | None = None) -> Annotations:
    reader = all_readers()[form.reader]
    assert isinstance(reader, AnnotationReader)
    return reader.load(folder, split, ReadOptions())


def usable(annotations: Annotations) -> bool:
    """Whether a format can tell what a data set is: by an object or a label."""
    return bool(len(annotations.objects) or len(annotations.labels))


def test_every_writer_and_reader_of_annotations_is_in_the_table() -> None:
    written = {form.writer for form in FORMATS.values()}
    assert set(all_writers()) - written == {"masks", "image_folder", "coco_panoptic"}, "tested elsewhere"
    read = {form.reader for form in FORMATS.values()}
    others = {"mask_folder", "dlc", "landmarks", "coco_panoptic", "hf"}
    missing = {name for name, reader in all_readers().items() if isinstance(reader, AnnotationReader)} - read - others
    assert not missing, f"formats that do not pass the suite: {missing}"


@every_format
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_written_is_read_again(form: Format, data: st.DataObject) -> None:
    drawn = data.draw(data_sets(form))
    assume(usable(drawn))
    with TemporaryDirectory() as name:
        annotations = draw_images(drawn, Path(name, "images"))
        folder = Path(name, "made")
        write(form, annotations, folder)
        assert detect_format(folder) == form.reader
        read = load(form, folder)
        after, before = content(read, form, annotations), content(annotations, form, annotations)
        assert after.keys() == before.keys()
        for key, value in before.items():
            assert after[key] == value, key
        for row in range(len(read)):
            assert read_image(read.path(row)).ndim == 3
        assert read.dropped == 0


@every_format
def test_splits_are_read_one_by_one(form: Format, tmp_path: Path) -> None:
    if "splits" not in form.kinds:
        pytest.skip("the format has no splits")
    folder = large(form, tmp_path, 9)
    reader = all_readers()[form.reader]
    assert isinstance(reader, AnnotationReader)
    assert sorted(reader.splits(folder)) == sorted(SPLITS)
    parts = [load(form, folder, split) for split in SPLITS]
    assert [len(part) for part in parts] == [3, 3, 3]
    assert all(part.splits is None or len(set(part.splits.tolist())) == 1 for part in parts)
    assert len({part.category_names for part in parts}) == 1, "all splits have all classes"


@every_format
def test_no_other_format_takes_it(form: Format, tmp_path: Path) -> None:
    folder = large(form, tmp_path, 9)
    fitting = [name for name, reader in all_readers().items() if reader.looks_like(folder)]
    assert fitting[0] == form.reader and set(fitting) <= {form.reader, "image_folder"}, fitting


@every_format
def test_two_thousand_images_are_opened_quickly(form: Format, tmp_path: Path) -> None:
    folder = large(form, tmp_path, 2000)
    start = time.process_time()
    assert detect_format(folder) == form.reader
    detected = time.process_time() - start
    assert len(load(form, folder)) == 2000
    taken = time.process_time() - start
    assert detected < 5 and taken < 20, f"{detected:.2f} s to detect, {taken:.2f} s to read"


@every_format
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_bytes_are_an_error_that_names_them(form: Format, seed: int, damage_folder: Path) -> None:
    folder = damage_folder / form.writer / "-".join(sorted(form.kinds))
    if not folder.exists():
        folder.mkdir(parents=True)
        large(form, folder, 6)
    files = sorted(file for file in (folder / "made").rglob("*") if file.is_file() and file.suffix != ".png")
    generator = np.random.default_rng(seed)
    if not files:
        return
    file = files[generator.integers(len(files))]
    before = file.read_bytes()
    try:
        file.write_bytes(damaged(before, generator))
        load(form, folder / "made")
    except DataError as error:
        assert str(error).strip() and "\n" not in str(error)
    finally:
        file.write_bytes(before)


@pytest.fixture(scope="module")
def damage_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def damaged(before: bytes, generator: np.random.Generator) -> bytes:
    """Bytes with some changed, cut off, doubled, or exchanged for odd ones."""
    after = bytearray(before)
    for _ in range(generator.integers(1, 4)):
        start = int(generator.integers(len(after) + 1))
        match generator.integers(5):
            case 0:
                del after[start:]
            case 1:
                after[start : start + 1] = generator.bytes(1)
            case 2:
                del after[start : start + int(generator.integers(1, 20))]
            case 3:
                after[start:start] = after[: int(generator.integers(1, 50))]
            case _:
                odd = (b"NaN", b"1e999", b"-1", b'"', b"{", b"\xff", b"null", b"999999999999", b"[]", b"\n")
                after[start : start + 2] = odd[generator.integers(len(odd))]
    return bytes(after)


def large(form: Format, folder: Path, count: int) -> Path:
    """A data set of many small images, each with a box or a class, a third in each split."""
    builder = AnnotationBuilder(folder / "images", folder)
    (folder / "images").mkdir()
    with_splits = "splits" in form.kinds
    for number in range(count):
        name = f"{number:05}.png"
        Image.new("L", (16, 12)).save(folder / "images" / name)
        row = builder.image(name, size=(12, 16), split=number * 3 // count if with_splits else -1)
        label = "dog" if number % 2 else "cat"
        if "box" in form.kinds:
            builder.object(row, label, box=(1.5, 2, 9 + number % 5, 10))
        elif "quadrilateral" in form.kinds:
            corners = np.array([1.5, 2, 9 + number % 5, 3, 9, 10, 1, 8])
            builder.object(row, label, shape=Segmentation((corners,)))
        else:
            builder.label(row, label)
    write(form, builder.build(), folder / "made")
    return folder / "made"
