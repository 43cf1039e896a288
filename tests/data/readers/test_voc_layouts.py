"""VOC in other folders, encodings and lists than its own, and its masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.data.readers.voc import VocReader
from vertebra.errors import DataError

Make = Callable[..., Path]
DOG = "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>12</ymax></bndbox></object>"


def xml(name: str, objects: str = DOG, head: str = "", root: str = "annotation") -> str:
    body = f"<filename>{name}</filename><size><width>32</width><height>24</height></size>{objects}"
    return f"{head}<{root}>{body}</{root.partition(' ')[0]}>"


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def ten(
    root: Path, draw_image: Make, change: Callable[[int, str], str] = lambda number, text: text, code: str = "utf-8"
) -> Path:
    for number in range(10):
        draw_image(root / "JPEGImages" / f"{number}.png")
        write(root / "Annotations" / f"{number}.xml", change(number, xml(f"{number}.png")), code)
    return root


def boxes(index: Index) -> list[list[list[float]]]:
    return [index.columns["detect"].get(row, (24, 32)).boxes.tolist() for row in range(len(index))]


def texts(index: Index) -> list[str]:
    """What a reader says, other than how it divided a set without splits."""
    return [str(note) for note in index.notes if note.which != "without a given split"]


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("Annotations", "images"),
        ("annotations", "images"),
        ("ANNOTATION", "JPEGImage"),
        ("annotations/xmls", "images"),
        ("Annotations/xml", "Img"),
        ("xmls", "imgs"),
        ("Annotations", "."),
        (".", "images"),
        ("Annotations", "Annotations"),
    ],
)
def test_folders_of_other_names(tmp_path: Path, draw_image: Make, annotations: str, images: str) -> None:
    for number in range(4):
        draw_image(tmp_path / images / f"{number}.png")
        write(tmp_path / annotations / f"{number}.xml", xml(f"{number}.png"))
    index = open_data(tmp_path, "detect", "train")
    assert boxes(index) == [[[1, 2, 11, 12]]] * len(index) and len(index) >= 2
    assert not [note for note in texts(index) if "left out" in note or "left aside" in note]


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("Annotations/{}", "images/{}"),
        ("Annotations/{}", "images"),
        ("{}/annotations", "{}/images"),
        ("{}/Annotations/xmls", "{}/JPEGImages"),
        ("{}", "{}"),
        ("{}/xmls", "{}"),
    ],
)
def test_a_folder_for_each_split(tmp_path: Path, draw_image: Make, annotations: str, images: str) -> None:
    for split, names in (("train", "ab"), ("Valid", "c"), ("testing", "d")):
        for name in names:
            draw_image(tmp_path / images.format(split) / f"{name}.png")
            write(tmp_path / annotations.format(split) / f"{name}.xml", xml(f"{name}.png"))
    sizes = {split: len(open_data(tmp_path, "detect", split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 2, "val": 1, "test": 1}
    assert not [note for note in texts(open_data(tmp_path, "detect", "train")) if "left out" in note]
    whole = VocReader().load(tmp_path, None, _options())
    assert whole.splits is not None and sorted(whole.splits.tolist()) == [0, 0, 1, 2]


def _options() -> object:
    from vertebra.annotations.options import ReadOptions

    return ReadOptions()


@pytest.mark.parametrize(
    "encoding", ["gb2312", "gbk", "big5", "euc-kr", "shift_jis", "utf-16", "iso-8859-1", "utf-8-sig"]
)
def test_encodings(tmp_path: Path, draw_image: Make, encoding: str) -> None:
    name = {"gb2312": "方块", "gbk": "方塊", "big5": "方塊", "euc-kr": "사각형", "shift_jis": "四角"}.get(
        encoding, "carré"
    )
    declared = encoding.removesuffix("-sig")
    head = f'<?xml version="1.0" encoding="{declared}"?>\n'
    root = ten(tmp_path, draw_image, lambda number, text: head + text.replace("dog", name), encoding)
    assert open_data(root, "detect", "train").labels["detect"].classes == (name,)


def test_name_spaces_are_passed_over(tmp_path: Path, draw_image: Make) -> None:
    def change(number: int, text: str) -> str:
        return text.replace("<annotation>", '<annotation xmlns="http://example.org/voc">') if number < 5 else text

    index = open_data(ten(tmp_path, draw_image, change), "detect", "train")
    assert boxes(index) == [[[1, 2, 11, 12]]] * 8 and not texts(index)


def test_bare_ampersands_are_counted(tmp_path: Path, draw_image: Make) -> None:
    index = open_data(ten(tmp_path, draw_image, lambda _, text: text.replace("dog", "nut & bolt")), "detect", "train")
    assert index.labels["detect"].classes == ("nut & bolt",)
    assert texts(index) == ["10 annotation files with a bare '&' were read as '&amp;': 0.xml, 1.xml, 2.xml, …"]
    proper = open_data(
        ten(tmp_path, draw_image, lambda _, text: text.replace("dog", "a &lt; b &#38; c")), "detect", "train"
    )
    assert proper.labels["detect"].classes == ("a < b & c",) and not texts(proper)


def test_more_than_a_tenth_of_damaged_files_is_an_error(tmp_path: Path, draw_image: Make) -> None:
    head = '<?xml version="1.0" encoding="UTF8MB4"?>'
    root = ten(tmp_path, draw_image, lambda number, text: head + text if number < 3 else text)
    with pytest.raises(
        DataError, match=r"3 of 10 annotation files cannot be read; .*0\.xml: .*unknown encoding 'UTF8MB4'"
    ):
        open_data(root, "detect", "train")
    write(root / "Annotations" / "2.xml", xml("2.png"))
    note = "2 annotation files that cannot be read as XML were left out with its image: 0.xml, 1.xml"
    assert texts(open_data(root, "detect", "train")) == [note]


def test_entities_are_refused(tmp_path: Path, draw_image: Make) -> None:
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    secret = tmp_path.parent / "secret.txt"
    secret.write_text("secret")
    for declared in (
        f'<!DOCTYPE a [<!ENTITY e0 "ha">{bomb}]>',
        f'<!DOCTYPE a [<!ENTITY e9 SYSTEM "file://{secret}">]>',
    ):
        for code in ("utf-8", "utf-16"):
            root = ten(tmp_path, draw_image, lambda _, text, head=declared: head + text.replace("dog", "&e9;"), code)
            with pytest.raises(DataError, match="it declares XML entities, which are not read"):
                open_data(root, "detect", "train")


@pytest.mark.parametrize(
    "line",
    ["{}", "{}.png", "{}.xml", "JPEGImages/{}.png", "./images/x/{}.png", "{} 1", "{}  0", "/data/VOC/JPEGImages/{}.png",
     "JPEGImages/{}.png Annotations/{}.xml", "JPEGImages\\{}.png"],
)  # fmt: skip
def test_lines_of_lists(tmp_path: Path, draw_image: Make, line: str) -> None:
    for name in ("my photo 1", "my photo 2", "c.d"):
        draw_image(tmp_path / "JPEGImages" / f"{name}.png")
        write(tmp_path / "Annotations" / f"{name}.xml", xml(f"{name}.png"))
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "\n".join(line.format(n, n) for n in ("my photo 2", "c.d")))
    write(tmp_path / "ImageSets" / "Main" / "val.txt", line.format("my photo 1", "my photo 1") + "\n\n")
    train, val = (open_data(tmp_path, "detect", split) for split in ("train", "val"))
    assert [train.path(row).stem for row in range(2)] == ["my photo 2", "c.d"] and val.path(0).stem == "my photo 1"
    assert not train.notes and not val.notes


def test_lines_with_minus_one_are_others_images(tmp_path: Path, draw_image: Make) -> None:
    ten(tmp_path, draw_image)
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "1  1\n2 -1\n3  0\n")
    write(tmp_path / "ImageSets" / "Main" / "val.txt", "4 -1\n5 1\n")
    assert [len(open_data(tmp_path, "detect", split)) for split in ("train", "val")] == [2, 1]


def test_a_list_that_fits_nothing_is_told(tmp_path: Path, draw_image: Make) -> None:
    ten(tmp_path, draw_image)
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "x/one.png\ntwo\n")
    with pytest.raises(
        DataError, match=r"train\.txt: none of its 2 lines names a file of this data set \(the first is 'x/one"
    ):
        open_data(tmp_path, "detect", "train")
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "1\ntwo\n")
    assert "1 image without an annotation file was left out: two" in texts(open_data(tmp_path, "detect", "train"))


def test_images_that_the_xml_names(tmp_path: Path, draw_image: Make) -> None:
    for number in range(3):
        draw_image(tmp_path / "images" / f"photo {number}.png")
        write(tmp_path / "annotations" / f"{number}.xml", xml(f"photo {number}.jpg"))
    annotations = VocReader().load(tmp_path, None, _options())
    assert [annotations.path(row).name for row in range(3)] == [f"photo {number}.png" for number in range(3)]


def masks(root: Path, draw_image: Make, values: Callable[[int], np.ndarray], folder: str = "SegmentationClass") -> Path:
    for number in range(6):
        draw_image(root / "JPEGImages" / f"{number}.jpg")
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values(number)).save(root / folder / f"{number}.png")
    return root


def stripes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8)[np.arange(32) % len(values)][None].repeat(24, axis=0)


@pytest.mark.parametrize("has_xml", [True, False])
def test_masks_have_lists_of_their_own(tmp_path: Path, draw_image: Make, has_xml: bool) -> None:
    masks(tmp_path, draw_image, lambda number: stripes(0, 1, 2, 255))
    if has_xml:
        ten(tmp_path, draw_image)
        for split, names in (("train", "012345"), ("val", "6789")):
            write(tmp_path / "ImageSets" / "Main" / f"{split}.txt", "\n".join(names))
        assert [len(open_data(tmp_path, "detect", split)) for split in ("train", "val")] == [6, 4]
    for split, names in (("train", "01"), ("val", "234")):
        write(tmp_path / "ImageSets" / "Segmentation" / f"{split}.txt", "\n".join(names))
    train, val = (open_data(tmp_path, "segment", split) for split in ("train", "val"))
    assert (len(train), len(val)) == (2, 3) and train.labels["segment"].classes == ("0", "1", "2")
    assert train.columns["segment"].get(1, (24, 32)).mask[0, :5].tolist() == [0, 1, 2, 255, 0]
    assert not has_xml or open_data(tmp_path, "detect", "train").labels["detect"].classes == ("dog",)


def test_masks_of_voc_have_its_names(tmp_path: Path, draw_image: Make) -> None:
    masks(tmp_path, draw_image, lambda number: stripes(0, 12, 20, 255))
    names = ("dog", "cat", "cow", "bus", "car", "boat")
    ten(tmp_path, draw_image, lambda number, text: text.replace("dog", names[number % 6]))
    index = open_data(tmp_path, "segment", "train")
    labels = index.labels["segment"]
    assert labels.class_count == 21 and labels.classes[12] == "dog" and labels.classes[0] == "background"
    assert "21 classes of Pascal VOC, as in its XML files, were taken for the values 0 to 20" in texts(index)[0]


def test_color_masks_of_cvat(tmp_path: Path, draw_image: Make) -> None:
    colors = np.array([[0, 0, 0], [250, 50, 83], [61, 245, 61]], dtype=np.uint8)
    masks(tmp_path, draw_image, lambda number: colors[stripes(0, 1, 2)])
    lines = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:61,245,61::\ndog:250,50,83::\n"
    write(tmp_path / "labelmap.txt", lines)
    write(tmp_path / "ImageSets" / "Segmentation" / "default.txt", "\n".join("012345"))
    index = open_data(tmp_path, "segment", "train")
    assert index.labels["segment"].classes == ("background", "cat", "dog")
    assert index.columns["segment"].get(0, (24, 32)).mask[0, :4].tolist() == [0, 2, 1, 0]


def test_masks_alone_have_no_boxes(tmp_path: Path, draw_image: Make) -> None:
    masks(tmp_path, draw_image, lambda number: stripes(0, 1))
    with pytest.raises(
        DataError, match="format 'voc' has no labels for task 'detect', only for segment; for detect use"
    ):
        open_data(tmp_path, "detect", "train")


def with_objects(root: Path, draw_image: Make) -> Path:
    """Three images of two dogs; their masks are in the order of the XML files, in another one, and with one that fits nothing."""
    two = DOG + DOG.replace("1</xmin>", "15</xmin>").replace("11</xmax>", "30</xmax>")
    parts = {
        "a": [(1, 2, 11, 12), (15, 2, 30, 12)],
        "b": [(15, 2, 30, 12), (1, 2, 11, 12)],
        "c": [(1, 2, 11, 12), (0, 20, 5, 24)],
    }
    for name, boxes_of in parts.items():
        draw_image(root / "JPEGImages" / f"{name}.png")
        write(root / "Annotations" / f"{name}.xml", xml(f"{name}.png", two))
        mask = np.zeros((24, 32), dtype=np.uint8)
        for number, (left, top, right, bottom) in enumerate(boxes_of):
            mask[top:bottom, left:right] = number + 1
        mask[2, 1] = 255
        (root / "SegmentationObject").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "SegmentationObject" / f"{name}.png")
    draw_image(root / "JPEGImages" / "d.png")
    write(root / "Annotations" / "d.xml", xml("d.png"))
    return root


def test_masks_of_objects_join_the_boxes(tmp_path: Path, draw_image: Make) -> None:
    read = VocReader().load(with_objects(tmp_path, draw_image), None, ReadOptions())
    shapes = read.objects.shapes
    assert shapes is not None and read.objects.has_shape.tolist() == [True] * 4 + [True, False, False]
    for number in range(5):
        left, top, right, bottom = read.objects.boxes[number].astype(int).tolist()
        drawn = shapes.draw(number, (24, 32))
        expected = np.zeros((24, 32), dtype=bool)
        expected[top:bottom, left:right] = True
        expected[2, 1] = False
        assert (drawn == expected).all()
    assert [str(note) for note in shapes.notes] == [
        "3 object masks with the number of an object in the XML file whose box fits were taken for that object: a.png, c.png",
        "2 object masks whose number is not that of the object in the XML file were taken for the object whose box fits: b.png",
        "1 object mask that fits no box was left out: c.png",
    ]


def test_masks_of_objects_are_segmented_where_there_are_none_of_classes(tmp_path: Path, draw_image: Make) -> None:
    root = with_objects(tmp_path, draw_image)
    index = open_data(root, "segment", "train")
    assert len(index) <= 3 and index.labels["segment"].classes == ("background", "dog")
    assert "1 image without masks of its objects was left out: d.xml" in map(str, index.notes)
    assert sum(len(open_data(root, "detect", split)) for split in ("train", "val", "test")) == 4


def test_masks_of_objects_are_divided_as_masks_are(tmp_path: Path, draw_image: Make) -> None:
    root = with_objects(tmp_path, draw_image)
    (root / "SegmentationClass").mkdir()
    for name in "abc":
        Image.fromarray(np.ones((24, 32), np.uint8)).save(root / "SegmentationClass" / f"{name}.png")
    for folder, lists in (("Main", {"train": "a d", "val": "b c"}), ("Segmentation", {"train": "a b", "val": "c"})):
        for split, names in lists.items():
            write(root / "ImageSets" / folder / f"{split}.txt", names.replace(" ", "\n"))
    index = open_data(root, "instances", "train")
    objects = [index.columns["instances"].get(row, (24, 32)) for row in range(len(index))]
    assert [len(each.labels) for each in objects] == [2, 2] and index.labels["instances"].classes == ("dog",)
    assert [len(open_data(root, task, "train")) for task in ("detect", "segment")] == [2, 2]
    assert len(open_data(root, "detect", "val")) == 2 and len(open_data(root, "instances", "val")) == 1
