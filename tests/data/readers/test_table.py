"""Tables of labels and boxes, as tutorials, Kaggle, Open Images and exporting tools write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.cli.main import app
from vertebra.config import SourceConfig
from vertebra.data.open import open_data, readings
from vertebra.data.readers.table import TableReader
from vertebra.errors import ConfigError, DataError

Make = Callable[..., Path]


@pytest.fixture
def tables(tmp_path: Path, draw_image: Make) -> Make:
    """Makes images 24 high and 32 wide, and text files by name."""

    def make(files: dict[str, str], images: Sequence[str] = ("a", "b", "c", "d"), at: str = "images/{}.png") -> Path:
        for name in images:
            draw_image(tmp_path / at.format(name))
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return make


def load(path: Path, split: str | None = None, **options: object) -> Annotations:
    return TableReader().load(path, split, ReadOptions(**options))  # type: ignore[arg-type]


def labels_of(annotations: Annotations) -> dict[str, list[str]]:
    names = annotations.category_names
    return {
        annotations.path(row).stem: [names[entry] for image, entry in annotations.labels.tolist() if image == row]
        for row in range(len(annotations))
    }


def notes_of(annotations: Annotations) -> str:
    return "\n".join(map(str, annotations.notes))


def test_a_table_of_labels_beside_the_images(tables: Make) -> None:
    root = tables({"labels.csv": "file,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,\n"})
    annotations = load(root)
    assert labels_of(annotations) == {"a": ["cat"], "b": ["dog"], "c": ["cat"], "d": []}
    assert annotations.annotated.tolist() == [True, True, True, False]
    assert notes_of(annotations) == "1 row without a label was taken as not annotated: d.png"
    index = open_data(root, "classify", "train")
    assert index.labels["classify"].classes == ("cat", "dog")
    assert readings(root, "classify")[0] == "table" and load(root / "labels.csv").category_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Image;Label\na.png;7\nb.png;10\nc.png;7\nd.png;10\n", ("7", "10")),
        ("id\tbreed\na\tx\nb\ty\nc\tx\nd\ty\n", ("x", "y")),
        ("a.png,x\nb.png,y\nc.png,x\nd.png,y\n", ("x", "y")),
        ("\ufeffIMAGE_PATH,Class Name\nimages/a.png,x\nimages\\b.png,y\n/far/images/c.png,x\nd.png,y\n", ("x", "y")),
        ('name,label\n"a.png","x, or so"\n"b.png",y\n"c.png","x, or so"\n"d.png",y\n', ("x, or so", "y")),
    ],
)
def test_forms_of_one_label(tables: Make, text: str, names: tuple[str, ...]) -> None:
    annotations = load(tables({"labels.csv": text}))
    assert annotations.category_names == names
    assert [label for each in labels_of(annotations).values() for label in each] == [names[0], names[1]] * 2


@pytest.mark.parametrize(
    "text",
    [
        "image,tags\na.png,x y\nb.png,y\nc.png,x\nd.png,\n",
        "image,label\na.png,x|y\nb.png,y\nc.png,x\nd.png,\n",
        'image,label\na.png,"x,y"\nb.png,y\nc.png,x\nd.png,\n',
        "image,label\na.png,\"['x', 'y']\"\nb.png,['y']\nc.png,['x']\nd.png,[]\n",
        "filename, x, y\na.png,1,1\nb.png,0,1\nc.png,1,0\nd.png,,\n",
    ],
)
def test_several_labels(tables: Make, text: str) -> None:
    annotations = load(tables({"labels.csv": text}))
    assert labels_of(annotations) == {"a": ["x", "y"], "b": ["y"], "c": ["x"], "d": []}
    assert not annotations.annotated[3]


def test_names_with_spaces_are_not_divided(tables: Make) -> None:
    root = tables(
        {"labels.csv": "image,label\na.png,golden retriever\nb.png,german shepherd\nc.png,golden retriever\n"}
    )
    assert load(root).category_names == ("german shepherd", "golden retriever")


def test_splits(tables: Make) -> None:
    text = "image,label,{}\na.png,x,{}\nb.png,y,{}\nc.png,x,{}\nd.png,y,{}\n"
    root = tables({"labels.csv": text.format("Set", "train", "train", "Validation", "TEST")})
    assert TableReader().splits(root) == ("train", "val", "test")
    assert [len(load(root, split)) for split in ("train", "val", "test")] == [2, 1, 1]
    (root / "labels.csv").write_text(text.format("partition", 0, 0, 1, 2))
    assert list(labels_of(load(root, "val"))) == ["c"]
    (root / "labels.csv").write_text(text.format("is_valid", "False", "False", "True", "True"))
    assert [len(load(root, split)) for split in ("train", "val")] == [2, 2]
    (root / "labels.csv").write_text(text.format("fold", 0, 1, 2, 3))
    assert TableReader().splits(root) == ()
    assert "4 values naming no split in column 'fold' were passed over: 0, 1, 2, …" in notes_of(load(root))
    (root / "labels.csv").write_text(text.format("split", "train", "train", "holdout", "test"))
    with pytest.raises(DataError, match="column 'split' has holdout, which is no split"):
        load(root, "train")


def test_a_table_for_each_split(tables: Make) -> None:
    root = tables(
        {
            "train.csv": "id,label\na,x\nb,z\n",
            "val.csv": "id,label\nc,y\n",
            "test.csv": "id\nd\n",
            "sample_submission.csv": "id,label\nd,x\n",
        }
    )
    assert TableReader().splits(root) == ("train", "val")
    assert load(root, "train").category_names == ("x", "y", "z")
    assert labels_of(load(root, "val")) == {"c": ["y"]}


def test_images_of_one_name_in_the_folders_of_splits(tables: Make) -> None:
    files = {f"{split}.csv": f"image,label\n1.png,{label}\n" for split, label in (("train", "x"), ("test", "y"))}
    root = tables(files, ("train/1", "test/1"), "{}.png")
    assert [load(root, split).path(0).parent.name for split in ("train", "test")] == ["train", "test"]


BOXES = {
    "filename,width,height,class,xmin,ymin,xmax,ymax\n": "{i}.png,32,24,{c},{x1},{y1},{x2},{y2}\n",
    "image_path,x1,y1,x2,y2,label\n": "images/{i}.png,{x1},{y1},{x2},{y2},{c}\n",
    "image_id;class_name;x;y;w;h\n": "{i};{c};{x1};{y1};{w};{h}\n",
    "image,label,cx,cy,width,height\n": "{i}.png,{c},{cx},{cy},{w},{h}\n",
    "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\n": (
        "{c},{x1},{y1},{w},{h},{i}.png,32,24\n"
    ),
    "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n": "{i}.png;32;24;{x1};{y1};{x2};{y2};{c}\n",
    "": "images/{i}.png,{x1},{y1},{x2},{y2},{c}\n",
    "image_id,width,height,bbox,class\n": '{i},32,24,"[{x1}, {y1}, {w}, {h}]",{c}\n',
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n": "{i},x,{c},1,{n1},{n3},{n2},{n4},0\n",
}
EDGES = {"a": (4, 6, 30, 22), "b": (2, 12, 20, 20), "c": (16, 2, 31, 23)}


def rows_of(line: str) -> str:
    text = ""
    for number, (name, (x1, y1, x2, y2)) in enumerate(EDGES.items()):
        values = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "w": x2 - x1, "h": y2 - y1, "cx": (x1 + x2) / 2}
        shares = {"n1": x1 / 32, "n2": y1 / 24, "n3": x2 / 32, "n4": y2 / 24}
        text += line.format(i=name, c="xyx"[number], cy=(y1 + y2) / 2, **values, **shares)
    return text


@pytest.mark.parametrize("header", list(BOXES))
def test_conventions_of_boxes(tables: Make, header: str) -> None:
    root = tables({"boxes.csv": header + rows_of(BOXES[header])})
    annotations = load(root)
    np.testing.assert_allclose(annotations.objects.boxes, list(EDGES.values()), atol=1e-9)
    assert annotations.category_names == ("x", "y") and annotations.objects.categories.tolist() == [0, 1, 0]
    assert len(annotations) == 3 and not annotations.objects.crowd.any()
    assert readings(root, "detect") == ["table"]
    assert len(open_data(root, "detect", "train").labels["detect"].classes) == 2


def test_boxes_of_images_without_objects_and_bad_rows(tables: Make) -> None:
    text = "a.png,4,6,30,22,x\nb.png,,,,,\nc.png,16,two,31,23,x\nc.png,2,12,20,20,y\nc.png,2,12,20,20,y\nlost.png,1,1,2,2,x\n"
    annotations = load(tables({"boxes.csv": text}))
    assert [len(annotations), len(annotations.objects)] == [3, 2] and annotations.annotated.all()
    listed = notes_of(annotations)
    assert "1 row whose box is not four numbers was read without it: c.png" in listed
    assert "1 box of boxes.csv that repeats another was left out: images/c.png" in listed
    assert "1 image that the file names was not found and left out: lost.png" in listed
    assert "3 boxes of boxes.csv in columns without such names were read as xyxy" in listed


@pytest.mark.parametrize(
    "cell", ['"[1, 2]"', '"[1, 2, x, 4]"', "\"[[1, 2, 3, 'a']]\"", "[1e999,2,3,4]", "7", '"[{}, 2, 3, 4]"', "[true]"]
)
def test_cells_that_are_no_boxes(tables: Make, cell: str) -> None:
    root = tables({"boxes.csv": f'image;bbox;label\na.png;{cell};x\nb.png;"[16, 12, 30, 20]";x\n'})
    annotations = load(root)
    assert annotations.objects.boxes.tolist() == [[16, 12, 30, 20]]
    assert "1 row whose box is not four numbers was read without it: a.png" in notes_of(annotations)


def test_an_ambiguous_convention_is_an_error(tables: Make) -> None:
    root = tables({"boxes.csv": 'image,bbox,label\na.png,"[2, 2, 6, 6]",x\nb.png,"[1, 3, 7, 8]",x\n'})
    with pytest.raises(
        DataError, match=r"its 2 boxes fit xyxy and xywh alike; name the convention by columns: \{xyxy: bbox\}"
    ):
        load(root)
    chosen = load(root, columns=(("xywh", "bbox"),))
    assert chosen.objects.boxes.tolist() == [[2, 2, 8, 8], [1, 3, 8, 11]]


def test_columns_that_the_user_names(tables: Make) -> None:
    root = tables({"t.csv": "pic,kind,label\na.png,x,1\nb.png,y,2\n"})
    assert load(root, columns=(("image", "pic"), ("label", "kind"))).category_names == ("x", "y")
    assert "1 column of t.csv was not read: kind" in notes_of(load(root))
    index = open_data(root, "classify", "train", columns={"label": "kind"})
    assert index.labels["classify"].classes == ("x", "y")
    (root / "t.csv").write_text("pic,kind,part\na.png,x,train\nb.png,y,train\nc.png,x,test\n")
    test = open_data(root, "classify", "test", columns={"label": "kind", "split": "part"})
    assert [test.path(row).name for row in range(len(test))] == ["c.png"]
    with pytest.raises(DataError, match="it has no column 'sort', which columns.label names; it has: pic, kind, part"):
        load(root, columns=(("label", "sort"),))
    with pytest.raises(DataError, match="columns: 'lable' is no column that is read.*label"):
        load(root, columns=(("lable", "kind"),))


def test_json_lines(tables: Make) -> None:
    entries = [
        {"file_name": "a.png", "objects": {"bbox": [[4, 6, 26, 16], [0, 0, 30, 24]], "category": ["x", "y"]}},
        {"file_name": "b.png", "objects": {"bbox": [[20, 12, 12, 12]], "category": ["y"]}},
        {"file_name": "c.png", "objects": {"bbox": [], "category": []}},
    ]
    text = "\n".join(map(json.dumps, entries)) + "\nno json\n"
    annotations = load(tables({"metadata.jsonl": text}))
    assert annotations.objects.boxes.tolist() == [[4, 6, 30, 22], [0, 0, 30, 24], [20, 12, 32, 24]]
    assert annotations.objects.categories.tolist() == [0, 1, 1] and len(annotations) == 3
    assert "1 line of metadata.jsonl that is no JSON object was dropped: line 4" in notes_of(annotations)


def test_parquet(tables: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    root = tables({})
    columns = {"image": ["images/a.png", "images/b.png"], "labels": [["x", "y"], ["y"]]}
    parquet.write_table(pyarrow.table(columns), root / "t.parquet")
    assert labels_of(load(root)) == {"a": ["x", "y"], "b": ["y"]}
    (root / "t.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="damaged, not a Parquet file"):
        load(root)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"Parquet files need pyarrow: pip install '\.\[parquet\]'"):
        open_data(root / "t.parquet", "classify", "train")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings(tables: Make, encoding: str) -> None:
    root = tables({})
    (root / "labels.csv").write_bytes("image,label\na.png,caf\u00e9\nb.png,x\nc.png,x\n".encode(encoding))
    annotations = load(root)
    assert annotations.category_names == ("caf\u00e9", "x")
    assert ("Latin 1" in notes_of(annotations)) == (encoding == "cp1252")


def test_open_images(tables: Make) -> None:
    root = tables(
        {
            "train-annotations-bbox.csv": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n"
            "a,xclick,/m/1,1,0.25,0.5,0.25,0.75,0,1\n",
            "train-labels.csv": "ImageID,Source,LabelName,Confidence\na,v,/m/1,1\nb,v,/m/2,1\nb,v,/m/1,0\n",
            "class-descriptions-boxable.csv": "/m/1,Dog\n/m/2,Cat\n",
        }
    )
    annotations = load(root, "train")
    assert annotations.category_names == ("Dog", "Cat") and annotations.objects.boxes.tolist() == [[8, 6, 16, 18]]
    assert annotations.objects.crowd.all() and labels_of(annotations) == {"a": ["Dog"], "b": ["Cat"]}
    assert "1 row of confidence 0, which deny a label, was left out: b" in notes_of(annotations)


def test_the_order_of_classes_in_a_table(tables: Make) -> None:
    root = tables({"annotations.csv": rows_of(BOXES[""]), "classes.csv": "y,0\nx,1\n"})
    assert load(root).category_names == ("y", "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image;xmin;ymin;xmax;ymax\na.png;1,5;2,5;8,5;9,5\n", "'1,5' in column 'xmin' has a decimal comma"),
        ("image,label\nlost.png,x\ngone.png,y\n", "no column with names of images that exist below"),
        (
            "image,label\n" + "".join(f"{'abcd'[i % 4]}.png,t{i}\n" for i in range(40)),
            "40 of the 40 labels in column 'label'",
        ),
        ("image,label\na.png,0.25\nb.png,1.5\n", "holds numbers with fractions, which are no classes"),
        ("image,height\na.png,24\n", "or none with labels or boxes; it has: image, height"),
    ],
)
def test_refusals(tables: Make, text: str, message: str) -> None:
    root = tables({"labels.csv": text})
    with pytest.raises(DataError, match=message):
        load(root)


def test_tables_of_other_things_are_not_claimed(tables: Make) -> None:
    root = tables({"results.csv": "epoch,loss\n1,0.5\n2,0.25\n", "VERSION.txt": "1"}, ("cat/1", "dog/2"), "{}.png")
    assert readings(root, "classify") == ["image_folder"]
    (root / "results.csv").write_bytes(b"\0\x01" * 50)
    assert readings(root, "classify") == ["image_folder"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet='abx.png,;"\n\t|1234567890-e[] \u00e9', max_size=120), st.binary(max_size=40))
def test_damaged_tables_give_notes_or_one_error(tables: Make, text: str, content: bytes) -> None:
    root = tables({})
    for whole in (
        b"image,label,bbox\na.png,x," + text.encode(),
        b"image,xmin,ymin,xmax,ymax\na.png,1,2,3,4\n" + content,
        content,
    ):
        (root / "t.csv").write_bytes(whole)
        for task in ("detect", "classify"):
            try:
                open_data(root / "t.csv", task, "train", format="table", multilabel=task == "classify")
            except DataError as error:
                assert "t.csv" in str(error)


def test_roboflow_tables_in_the_folders_of_splits(tables: Make) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    line = "{}.jpg,32,24,{},4,6,30,22\n"
    files = {
        f"{split}/_annotations.csv": header + line.format(name, name)
        for split, name in (("train", "a"), ("valid", "b"))
    }
    root = tables(files, (), "")
    images = {"train": "a", "valid": "b"}
    for split, name in images.items():
        tables({}, (name,), split + "/{}.jpg")
    assert TableReader().splits(root) == ("train", "val")
    assert load(root, "val").category_names == ("a", "b") and load(root, "val").objects.categories.tolist() == [1]
    assert readings(root, "detect") == ["table"]


def test_columns_from_the_config_and_the_command_line(tables: Make) -> None:
    rows = "".join(f"{name}.png,{'xy'[number % 2]},{number}\n" for number, name in enumerate("abcdefghijkl"))
    root = tables({"t.csv": "pic,kind,label\n" + rows}, "abcdefghijkl")
    source = SourceConfig(path=str(root), columns={"label": "kind"})
    index = open_data(root, "classify", "train", columns=source.columns)
    assert index.labels["classify"].classes == ("x", "y")
    words = ["data", "check", str(root), "--task", "classify", "--column"]
    result = CliRunner().invoke(app, [*words, "label=kind"])
    assert result.exit_code == 0 and "(x 4, y 4)" in result.output
    with pytest.raises(ConfigError, match="--column kind: write what is read and the column's name, as image=path"):
        CliRunner().invoke(app, [*words, "kind"], catch_exceptions=False)


def test_a_damaged_table_beside_others_is_counted(tables: Make) -> None:
    root = tables({"train.csv": "image,label\na.png,x\nb.png,y\n"})
    (root / "val.csv").write_bytes(b"\x00\x01\x02" * 40)
    assert "1 table that cannot be read was left out: val.csv" in notes_of(load(root))
    (root / "train.csv").unlink()
    with pytest.raises(DataError, match=r"val\.csv: not a text file"):
        load(root)


def test_images_that_no_table_names_are_counted(tables: Make) -> None:
    root = tables({"labels.csv": "image,label\na.png,x\nb.png,y\n"})
    assert "2 images that no table names were left out: images/c.png, images/d.png" in notes_of(load(root))
