"""Public data sets in the folders and files in which they are published: read, or refused with what is read instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.find_task import find_task
from vertebra.data.index import Index
from vertebra.data.open import find_data, open_data
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.table import TableReader
from vertebra.data.readers.table_runs import parse_runs
from vertebra.errors import DataError

Make = Callable[..., Path]
HEIGHT, WIDTH = 24, 32


@pytest.fixture
def files(tmp_path: Path, draw_image: Make) -> Callable[..., Path]:
    """Writes a data set: a text, an object for JSON, an array for a mask, or None for an image."""

    def write(**content: Any) -> Path:
        return write_files(content)

    def write_files(content: dict[str, Any]) -> Path:
        for name, value in content.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if value is None:
                draw_image(path)
            elif isinstance(value, np.ndarray):
                Image.fromarray(value).save(path)
            else:
                path.write_text(value if isinstance(value, str) else json.dumps(value))
        return tmp_path

    return lambda content: write_files(content)


def images(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


def mask(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8)[np.arange(WIDTH) % len(values)][None].repeat(HEIGHT, axis=0)


def load(path: Path, split: str | None = None) -> Annotations:
    data_set = find_data(path, None)
    reader = all_readers()[data_set.format]
    assert isinstance(reader, AnnotationReader)
    return reader.load(data_set.path, split, ReadOptions())


def splits(path: Path) -> tuple[str, ...]:
    data_set = find_data(path, None)
    reader = all_readers()[data_set.format]
    assert isinstance(reader, AnnotationReader)
    return reader.splits(data_set.path)


def paths(annotations: Annotations | Index) -> list[str]:
    return [annotations.path(row).relative_to(annotations.root).as_posix() for row in range(len(annotations))]


def notes(annotations: Annotations) -> str:
    return " | ".join(map(str, annotations.notes))


def classes(annotations: Annotations) -> list[str]:
    return [category.name for category in annotations.categories]


def objects(annotations: Annotations) -> list[tuple[str, list[float], bool]]:
    read = annotations.objects
    names = [annotations.categories[number].name for number in read.categories]
    return list(zip(names, read.boxes.tolist(), read.crowd.tolist(), strict=True))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "flowers": (
        {"jpg/1.jpg": None, "segmim/1.jpg": None, "imagelabels.mat": "", "setid.mat": ""},
        "Oxford Flowers 102",
    ),
    "cars": (
        {"cars_train/1.jpg": None, "devkit/cars_train_annos.mat": ""},
        "Stanford Cars, which are not read: write a table",
    ),
    "caltech": (
        {"101_ObjectCategories/a/1.jpg": None, "Annotations/a/1.mat": ""},
        "name its folder 101_ObjectCategories",
    ),
    "mot": ({"train/A/img1/1.jpg": None, "train/A/seqinfo.ini": ""}, "MOTChallenge"),
    "penn fudan": ({"PNGImages/a.png": None, "PedMasks/a_mask.png": mask(0, 1)}, "its masks number the objects"),
    "cifar": ({"cifar-10-batches-py/data_batch_1": ""}, "packed in arrays"),
    "labelbox": (
        {"images/1.jpg": None, "a.ndjson": {"data_row": {}}},
        "export of Labelbox, which is not read: export it as COCO",
    ),
    "darwin": ({"images/1.jpg": None, "a/1.json": {"schema_ref": "x/darwin_json/2.0"}}, "export of V7 Darwin"),
    "other text": (
        {"images/1.jpg": None, "annotations/1.txt": "0 0.5 0.5 0.2 0.2\n"},
        "of no known format; its folders images are no classes",
    ),
    "archive": ({"job.zip": ""}, r"it holds archives; name one of them: .*job\.zip"),
    "parts": ({"HAM_images_part_1/1.jpg": None, "HAM_images_part_2/2.jpg": None}, "are hardly classes"),
    "batches": ({"batch_1/1.jpg": None, "batch_2/2.jpg": None}, "are hardly classes"),
    "kinds": (
        {"rgb/1.jpg": None, "depth/1.jpg": None},
        "its folders depth, rgb are hardly classes; with format: image_folder",
    ),
    "one folder": ({"a/x/1.jpg": None, "b.txt": ""}, "its only class folder is a, so there is nothing to tell apart"),
    "sidecars": (
        {"a/1.jpg": None, "b/2.jpg": None, "notes/1.txt": "x"},
        "annotations such as 1.txt lie beside its images",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named_with_a_cure(name: str, files: Callable[..., Path]) -> None:
    content, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as error:
        find_data(files(content), None)
    assert "\n" not in str(error.value)


def test_doubtful_class_folders_are_read_if_the_format_is_named(files: Callable[..., Path]) -> None:
    root = files({f"batch_{number}/{number}{each}.jpg": None for number in (1, 2) for each in "abcd"})
    assert len(open_data(root, "classify", "train", format="image_folder")) == 4


def test_the_folder_that_a_refusal_names_is_read(files: Callable[..., Path]) -> None:
    root = files({f"101_ObjectCategories/{name}/{number}.jpg": None for name in "ab" for number in range(3)})
    assert classes(load(root / "101_ObjectCategories")) == ["a", "b"]


def test_a_named_column_may_be_in_one_of_several_tables(files: Callable[..., Path]) -> None:
    names = {f"images_part_{number}/{number}.jpg": None for number in range(1, 5)}
    rows = "".join(f"{number},{'ab'[number % 2]}\n" for number in range(1, 5))
    root = files({**names, "a.csv": "pixel1,label\n1,2\n", "metadata.csv": f"image_id,dx\n{rows}"})
    index = open_data(root, "classify", "train", columns={"label": "dx"})
    assert index.labels["classify"].classes == ("a", "b")
    with pytest.raises(DataError, match="it has no column 'y', which columns.label names"):
        open_data(root, "classify", "train", columns={"label": "y"})


def test_words_for_images_may_be_in_names_of_classes(files: Callable[..., Path]) -> None:
    root = files(images("with_mask/1.jpg", "without_mask/2.jpg"))
    assert classes(load(root)) == ["with_mask", "without_mask"]


def test_class_folders_in_images_with_published_lists(files: Callable[..., Path]) -> None:
    names = [f"{name}/{number}" for name in ("pie", "soup") for number in (1, 2, 3)]
    root = files(
        {
            **images(*(f"images/{name}.jpg" for name in names), "images/pie/9.jpg"),
            "meta/train.txt": "\n".join(names[:5]),
            "meta/test.txt": names[5],
        }
    )
    assert splits(root) == ("train", "test") and paths(load(root, "test")) == ["soup/3.jpg"]
    train = load(root, "train")
    assert len(train) == 5 and "1 image of no split, where others are of one, was left out" in notes(train)


def test_numbered_lists_of_cub(files: Callable[..., Path]) -> None:
    names = ["a/1.jpg", "a/2.jpg", "b/3.jpg"]
    root = files(
        {
            **images(*(f"images/{name}" for name in names)),
            "images.txt": "".join(f"{number} {name}\n" for number, name in enumerate(names)),
            "train_test_split.txt": "0 1\n1 0\n2 1\n",
            "bounding_boxes.txt": "0 1 2 3 4\n",
        }
    )
    assert splits(root) == ("test", "train") and paths(load(root, "test")) == ["a/2.jpg"]
    assert "1 file beside the class folders was not read: bounding_boxes.txt" in notes(load(root, "train"))


@pytest.mark.parametrize(
    ("folder", "file", "lines"),
    [
        ("val", "val.txt", "5.jpg 1\n6.jpg 0\n"),
        ("val/images", "val/val_annotations.txt", "5.jpg\tn2\t0\t0\n6.jpg\tn1\t0\t0\n"),
    ],
)
def test_flat_splits_of_class_folders(folder: str, file: str, lines: str, files: Callable[..., Path]) -> None:
    root = files({**images("train/n1/1.jpg", "train/n2/2.jpg", f"{folder}/5.jpg", f"{folder}/6.jpg"), file: lines})
    read = load(root, "val")
    assert sorted(zip(paths(read), read.labels[:, 1].tolist(), strict=True)) == [
        (f"{folder}/5.jpg", 1),
        (f"{folder}/6.jpg", 0),
    ]
    (root / file).write_text(lines.replace("1", "9").replace("n2", "n7"))
    with pytest.raises(DataError, match="has no class folder"):
        load(root, "val")


def test_flat_splits_without_a_list_are_left_out(files: Callable[..., Path]) -> None:
    root = files(images("train/n1/1.jpg", "train/n2/2.jpg", "val/5.jpg"))
    assert splits(root) == ("train",)
    assert "1 image of split 'val', in no class folder and in no list 'name class' beside them, was left out" in notes(
        load(root)
    )


def test_masks_beside_the_images_of_class_folders(files: Callable[..., Path]) -> None:
    names = [f"{name}/{name} ({number})" for name in ("benign", "normal") for number in (1, 2)]
    root = files(
        {f"{name}{end}.png": mask(0, 255) if end else None for name in names for end in ("", "_mask", "_mask_1")}
    )
    assert find_task(root).name == "segment" and len(load(root)) == 4
    index = open_data(root, "classify", "train")
    assert not any("_mask" in path for path in paths(index))


MASKS: dict[str, tuple[dict[str, Any], list[str], dict[str, str]]] = {
    "isic": (
        {"Training_Input/1.jpg": None, "T1_Training_GroundTruth/1_segmentation.png": mask(0, 255)},
        ["background", "foreground"],
        {"Training_Input/1.jpg": "T1_Training_GroundTruth/1_segmentation.png"},
    ),
    "potsdam": (
        {"2_Ortho_RGB/a_RGB.tif": None, "5_Labels_all/a_label.tif": mask(0, 1)},
        ["0", "1"],
        {"2_Ortho_RGB/a_RGB.tif": "5_Labels_all/a_label.tif"},
    ),
    "roboflow": (
        {
            "train/1.jpg": None,
            "train/1_mask.png": mask(0, 1),
            "train/_classes.csv": "Pixel Value, Class\n0, sky\n1, dog\n",
        },
        ["sky", "dog"],
        {"train/1.jpg": "train/1_mask.png"},
    ),
    "loveda": (
        {
            **{f"Train/{place}/images_png/{place}.png": None for place in ("Rural", "Urban")},
            **{f"Train/{place}/masks_png/{place}.png": mask(0, 1) for place in ("Rural", "Urban")},
        },
        ["0", "1"],
        {
            f"Train/{place}/images_png/{place}.png": f"Train/{place}/masks_png/{place}.png"
            for place in ("Rural", "Urban")
        },
    ),
    "drive": (
        {
            "training/images/21_training.tif": None,
            "training/1st_manual/21_manual1.gif": mask(0, 1),
            "training/mask/21_training_mask.gif": mask(1, 0),
        },
        ["0", "1"],
        {"training/images/21_training.tif": "training/1st_manual/21_manual1.gif"},
    ),
    "mapillary": (
        {
            "training/images/1.jpg": None,
            "training/v1.2/labels/1.png": mask(0, 1),
            "training/v2.0/labels/1.png": mask(0, 1),
            "training/v2.0/instances/1.png": mask(0, 1),
            "config_v2.0.json": {"labels": [{"readable": "Bird"}, {"readable": "Curb"}]},
        },
        ["Bird", "Curb"],
        {"training/images/1.jpg": "training/v2.0/labels/1.png"},
    ),
    "ade20k": (
        {
            "images/training/1.jpg": None,
            "annotations/training/1.png": mask(0, 1, 2),
            "objectInfo150.txt": "Idx\tRatio\tName\n1\t0.1\twall\n2\t0.1\tbuilding, edifice\n",
        },
        ["other", "wall", "building"],
        {"images/training/1.jpg": "annotations/training/1.png"},
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(name: str, files: Callable[..., Path]) -> None:
    content, names, pairs = MASKS[name]
    read = load(files(content))
    assert read.masks is not None and classes(read) == names
    assert dict(zip(paths(read), [file.decode() for file in read.masks.files.tolist()], strict=True)) == pairs
    assert ("1 folder of masks, beside another, was left aside: mask" in notes(read)) == (name == "drive")


def test_classes_of_cityscapes(files: Callable[..., Path]) -> None:
    name = "train/aachen/1"
    root = files({f"leftImg8bit/{name}_leftImg8bit.png": None, f"gtFine/{name}_gtFine_labelIds.png": mask(7, 26)})
    assert [classes(load(root))[number] for number in (7, 26, 33)] == ["road", "car", "bicycle"]


def test_a_list_of_validation_alone_leaves_the_rest_for_train(files: Callable[..., Path]) -> None:
    content = {
        f"{folder}/{n}.png": value for n in "abc" for folder, value in (("images", None), ("labels", mask(0, 1)))
    }
    root = files({**content, "valid.txt": "c.png\n", "codes.txt": "Animal\nArchway\n"})
    assert splits(root) == ("val", "train") and paths(load(root, "train")) == ["images/a.png", "images/b.png"]
    assert classes(load(root)) == ["Animal", "Archway"]


def test_published_lists_of_masks(files: Callable[..., Path]) -> None:
    content = {
        f"{folder}/{n}.png": value
        for n in "ab"
        for folder, value in (("images", None), ("annotations/trimaps", mask(1, 2)))
    }
    root = files({**content, "annotations/trainval.txt": "a 1 1 1\n", "annotations/test.txt": "b 1 1 1\n"})
    assert paths(load(root, "test")) == ["images/b.png"]


def runs(pixels: np.ndarray, order: str) -> str:
    flat = np.concatenate([[0], pixels.flatten(order="F" if order == "columns" else "C"), [0]])
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return " ".join(f"{start} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


@pytest.mark.parametrize("order", ["columns", "rows"])
@pytest.mark.parametrize("header", ["ImageId,ClassId,EncodedPixels", "ImageId_ClassId,EncodedPixels"])
def test_run_lengths(order: str, header: str, files: Callable[..., Path]) -> None:
    pixels = np.zeros((HEIGHT, WIDTH), dtype=bool)
    pixels[3:9, 5:20] = pixels[9:12, 8:12] = True
    separator = "_" if header.count(",") == 1 else ","
    rows = [
        f"1.jpg{separator}2,{runs(pixels, order)}",
        f"2.jpg{separator}1,",
        f"1.jpg{separator}1,{runs(~pixels, order)}",
    ]
    root = files({**images("train_images/1.jpg", "train_images/2.jpg"), "train.csv": "\n".join([header, *rows])})
    read = load(root)
    shapes = read.objects.shapes
    assert shapes is not None and find_task(root).name == "segment" and len(read) == 2
    assert [classes(read)[number] for number in read.objects.categories] == ["2", "1"]
    assert (shapes.draw(0, (HEIGHT, WIDTH)) == pixels).all() and (shapes.draw(1, (HEIGHT, WIDTH)) == ~pixels).all()
    where = "down the columns" if order == "columns" else "along the rows"
    assert f"2 cells of run lengths in column 'EncodedPixels' were read as pixels counted {where}" in notes(read)
    assert len(open_data(root, "instances", "train")) + len(open_data(root, "instances", "val")) == 2


def test_tables_that_are_nearly_of_run_lengths(files: Callable[..., Path]) -> None:
    bare = "".join(f"{number}.jpg,-1\n" for number in (2, 3, 4))
    root = files({**images("1.jpg", "2.jpg", "3.jpg", "4.jpg"), "a.csv": f"image,rle\n1.jpg,5 3 40 2\n{bare}"})
    read = load(root)
    assert len(read.objects) == 1 and len(read) == 4
    root = files({"a.csv": "file,image_class\n1.jpg,polar_bear\n2.jpg,brown_bear\n"})
    options = ReadOptions(columns=(("image", "file"), ("label", "image_class")))
    assert TableReader().load(root, None, options).category_names == ("brown_bear", "polar_bear")


def test_run_lengths_of_other_images_are_refused(files: Callable[..., Path]) -> None:
    root = files({"1.jpg": None, "a.csv": "ImageId,EncodedPixels\n1.jpg,700 100\n"})
    with pytest.raises(DataError, match=r"1 cells in column 'EncodedPixels' are no run lengths .* of their images"):
        load(root)
    assert parse_runs("1 2 2 5") is None and parse_runs("0 4") is None and parse_runs("5 6 7") is None
    assert parse_runs("9" * 400 + " 1") is None


def test_published_lists_beside_a_table(files: Callable[..., Path]) -> None:
    root = files(
        {
            **images("images_001/1.png", "images_001/2.png", "images_002/3.png"),
            "Data_Entry.csv": "Image Index,Finding Labels\n1.png,Mass\n2.png,Mass\n3.png,None\n",
            "train_val_list.txt": "1.png\n2.png\n",
            "test_list.txt": "3.png\n",
        }
    )
    assert splits(root) == ("train", "test") and paths(load(root, "test")) == ["images_002/3.png"]


def test_lists_with_a_class_on_each_line(files: Callable[..., Path]) -> None:
    root = files(
        {
            **images("images/1.jpg", "images/2.jpg", "images/3.jpg"),
            "train.txt": "1.jpg 4\n2.jpg 0\n",
            "val.txt": "3.jpg 4\n",
        }
    )
    assert find_task(root).name == "classify" and classes(load(root)) == ["0", "4"]
    assert paths(load(root, "val")) == ["images/3.jpg"]


@pytest.mark.parametrize("line", ["1.jpg 2,3,14,15,0", "1.jpg", "1.jpg 2.jpg"])
def test_lists_of_something_else_are_no_labels(line: str, files: Callable[..., Path]) -> None:
    with pytest.raises(DataError):
        find_data(files({"1.jpg": None, "train.txt": line}), "classify")


def test_objects_as_a_list_in_metadata(files: Callable[..., Path]) -> None:
    entry = {
        "file_name": "1.jpg",
        "objects": [{"bbox": [1, 2, 3, 4], "category": "dog"}, {"bbox": [5, 6, 7, 8], "category": "cat"}],
    }
    read = load(files({"1.jpg": None, "metadata.jsonl": entry}))
    assert objects(read) == [("dog", [1, 2, 4, 6], False), ("cat", [5, 6, 12, 14], False)]


def test_attributes_of_celeba(files: Callable[..., Path]) -> None:
    root = files(
        {
            **images("img_align_celeba/1.jpg", "img_align_celeba/2.jpg"),
            "list_attr_celeba.txt": "2\nMale Smiling \n1.jpg -1  1\n2.jpg  1 -1\n",
            "list_eval_partition.txt": "1.jpg 0\n2.jpg 2\n",
        }
    )
    read = load(root, "test")
    assert (
        paths(read) == ["img_align_celeba/2.jpg"]
        and read.labels.tolist() == [[0, 0]]
        and classes(read) == ["Male", "Smiling"]
    )


def coco(name: str, **extra: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": name, "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **extra}],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": []}],
    }


def test_coco_files_of_points_beside_those_of_boxes(files: Callable[..., Path]) -> None:
    box = {"bbox": [1, 2, 3, 4]}
    root = files(
        {
            "val2017/1.jpg": None,
            "annotations/instances_val2017.json": coco("1.jpg", **box),
            "annotations/person_keypoints_val2017.json": coco("1.jpg", **box, keypoints=[2, 3, 2], num_keypoints=1),
        }
    )
    assert find_task(root).name == "detect"
    assert len(open_data(root, "keypoints", "val")) == 1


def test_coco_files_in_another_folder_and_without_objects_but_classes(files: Callable[..., Path]) -> None:
    root = files({"data/batch_1/1.jpg": None, "data/annotations.json": coco("batch_1/1.jpg"), "download.py": ""})
    assert find_task(root).format == "coco" and find_task(root).name == "classify"


def xml(name: str) -> str:
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>15</ymax></bndbox>"
    return f"<annotation><filename>{name}</filename><object><name>cat</name>{box}</object></annotation>"


def test_lists_of_images_without_an_xml_file(files: Callable[..., Path]) -> None:
    root = files(
        {
            **images("images/1.jpg", "images/2.jpg"),
            "annotations/xmls/1.xml": xml("1.jpg"),
            "annotations/trainval.txt": "1 1 1 1\n",
            "annotations/test.txt": "2 1 1 1\n",
        }
    )
    assert splits(root) == ("train",)
    assert "1 list of images that have no XML file was left aside: test.txt" in notes(load(root, "train"))


def test_masks_of_objects_of_voc_beside_masks_of_classes(files: Callable[..., Path]) -> None:
    pixels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    pixels[3:15, 2:20] = 1
    parts = {f"{folder}/{n}.png": pixels for n in "12" for folder in ("SegmentationClass", "SegmentationObject")}
    names = {f"JPEGImages/{n}.jpg": None for n in "12"} | {f"Annotations/{n}.xml": xml(f"{n}.jpg") for n in "12"}
    lists = {
        f"ImageSets/{folder}/{split}.txt": n
        for folder, pair in (("Main", "12"), ("Segmentation", "21"))
        for split, n in zip(("train", "val"), pair, strict=True)
    }
    root = files({**parts, **names, **lists})
    assert paths(open_data(root, "instances", "val")) == ["JPEGImages/1.jpg"]
    assert paths(open_data(root, "detect", "val")) == ["JPEGImages/2.jpg"]


KITTI = "Car 0.88 3 -0.69 5 6 20 18 1 1 3 -1 1 7 1\nDontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n"
FRAME = {
    "name": "1.jpg",
    "labels": [{"category": "car", "box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}, {"category": "lane", "poly2d": []}],
}
PERSONS = {
    "ID": "1,a",
    "gtboxes": [
        {"fbox": [-1, 2, 9, 8], "tag": "person"},
        {"fbox": [1, 2, 3, 4], "tag": "mask", "extra": {"ignore": 1}},
    ],
}
BOXES: dict[str, tuple[dict[str, Any], list[tuple[str, list[float], bool]]]] = {
    "kitti": (
        {
            "training/image_2/1.png": None,
            "training/image_3/1.png": None,
            "training/label_2/1.txt": KITTI,
            "testing/image_2/1.png": None,
        },
        [("Car", [5, 6, 20, 18], False), ("DontCare", [1, 2, 3, 4], True)],
    ),
    "visdrone": (
        {
            "VisDrone2019-DET-train/images/1.jpg": None,
            "VisDrone2019-DET-train/annotations/1.txt": "1,2,3,4,1,4,0,0\n5,6,7,8,0,0,0,0,\n",
        },
        [("car", [1, 2, 4, 6], False), ("ignored regions", [5, 6, 12, 14], True)],
    ),
    "wider face": (
        {
            **images("WIDER_train/images/0--Parade/1.jpg", "WIDER_train/images/0--Parade/2.jpg"),
            "wider_face_split/wider_face_train_bbx_gt.txt": "0--Parade/2.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n"
            "0--Parade/1.jpg\n2\n1 2 3 4 0 0 0 0 0 0 \n5 6 7 8 0 0 0 1 0 0 \n",
        },
        [("face", [1, 2, 4, 6], False), ("face", [5, 6, 12, 14], True)],
    ),
    "crowdhuman": (
        {"Images/1,a.jpg": None, "annotation_train.odgt": PERSONS},
        [("person", [-1, 2, 8, 10], False), ("person", [1, 2, 4, 6], True)],
    ),
    "bdd100k": (
        {"b/images/100k/train/1.jpg": None, "b/labels/det_20/det_train.json": [FRAME]},
        [("car", [1, 2, 3, 4], False)],
    ),
}


@pytest.mark.parametrize("name", BOXES)
def test_boxes_in_text_and_json(name: str, files: Callable[..., Path]) -> None:
    content, expected = BOXES[name]
    root = files(content)
    assert find_task(root).name == "detect" and splits(root) == ("train",)
    read = load(root, "train")
    assert objects(read) == expected and len(read) == (2 if name == "wider face" else 1)
    assert not any("image_3" in path or "testing" in path for path in paths(read))


POINTS: dict[str, tuple[dict[str, Any], int, list[float]]] = {
    "pts": (
        {"01_Indoor/1.png": None, "01_Indoor/1.pts": "version: 1\nn_points: 3\n{\n1 2\n3 4.5\n5 6\n}\n"},
        3,
        [3, 4.5, 2],
    ),
    "wflw": (
        {
            "WFLW_images/a/1.jpg": None,
            "W/list_98pt_rect_attr_test.txt": " ".join(map(str, range(1, 21)))
            + " 3" * 176
            + " 1 2 9 9"
            + " 0" * 6
            + " a/1.jpg\n",
        },
        98,
        [3, 4, 2],
    ),
    "mpii": (
        {
            "images/1.jpg": None,
            "annot/train.json": [
                {"image": "1.jpg", "joints": [[3, 4]] * 16, "joints_vis": [1] * 16, "scale": 1, "center": [1, 1]}
            ],
        },
        16,
        [3, 4, 2],
    ),
}


@pytest.mark.parametrize("name", POINTS)
def test_points_in_text_and_json(name: str, files: Callable[..., Path]) -> None:
    content, count, second = POINTS[name]
    root = files(content)
    assert find_task(root).name == "keypoints"
    read = load(root)
    assert len(read) == len(read.objects) == 1 and read.objects.points.shape == (count, 3)
    assert read.objects.points[1].tolist() == second


def test_lines_that_are_no_objects_are_counted(files: Callable[..., Path]) -> None:
    root = files(
        {
            "training/image_2/1.png": None,
            "training/label_2/1.txt": KITTI + "Car 1 2\nVan 0 0 0 inf 6 20 18 1 1 3 -1 1 7 1\n",
        }
    )
    (root / "training" / "label_2" / "9.txt").write_text(KITTI)
    assert "1 annotation file without an image was left out: 9.txt" in notes(load(root))
    assert "2 lines without an object of its format were left out: image_2/1.png" in notes(load(root))


def test_other_texts_beside_images_are_not_visdrone(files: Callable[..., Path]) -> None:
    root = files({"images/1.jpg": None, "annotations/1.txt": "10,20,30,20,30,40,10,40\n"})  # corners of a text
    with pytest.raises(DataError, match="of no known format"):
        find_data(root, None)


def test_damaged_files_are_named(files: Callable[..., Path]) -> None:
    root = files({"Images/1.jpg": None, "annotation_train.odgt": '{"ID": "1"}\n'})
    with pytest.raises(DataError, match=r"annotation_train\.odgt: line 1 is no image with 'ID' and 'gtboxes'"):
        load(root)
    points = "version: 1\n{\n1 2\n3 4\n5 6\n}\n"
    root = files({"p/1.png": None, "p/2.png": None, "p/1.pts": points, "p/2.pts": points.replace("5 6\n", "")})
    with pytest.raises(DataError, match=r"its \.pts files have 2 and 3 points"):
        load(root / "p")


def test_a_file_with_the_name_of_a_known_one(files: Callable[..., Path]) -> None:
    masks = {f"{folder}/{number}.png": mask(0, 1) for folder in ("images", "masks") for number in (1, 2)}
    assert classes(load(files({**masks, "config_v1.json": {"epochs": 3}}))) == ["0", "1"]
