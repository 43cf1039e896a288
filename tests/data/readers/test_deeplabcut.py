"""DeepLabCut's projects and tables: joined copies, points of no animal, spreadsheets, HDF5."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vertebra.annotations.options import ReadOptions
from vertebra.data.open import open_data
from vertebra.data.readers.deeplabcut import DlcReader
from vertebra.errors import DataError

Make = Callable[..., Path]


def project(root: Path, draw_image: Make, *, suffix: str = "csv", unique: bool = False) -> Path:
    """A DeepLabCut project of two videos with 10 frames each."""
    for video in ("vidA", "vidB"):
        columns = [("me", part, axis) for part in ("nose", "tail") for axis in "xy"]
        names = ["scorer", "bodyparts", "coords"]
        if unique:
            columns = [("me", animal, "nose", axis) for animal in ("m1", "m2") for axis in "xy"]
            columns += [("me", "single", "corner", axis) for axis in "xy"]
            names = ["scorer", "individuals", "bodyparts", "coords"]
        frames = [f"img{number:03}.png" for number in range(10)]
        for frame in frames:
            draw_image(root / "labeled-data" / video / frame, 40, 60)
        import pandas

        values = np.arange(10 * len(columns), dtype=float).reshape(10, -1)
        rows = pandas.MultiIndex.from_tuples([("labeled-data", video, frame) for frame in frames])
        frame_of = pandas.DataFrame(values, index=rows, columns=pandas.MultiIndex.from_tuples(columns, names=names))
        file = root / "labeled-data" / video / f"CollectedData_me.{suffix}"
        frame_of.to_csv(file) if suffix == "csv" else frame_of.to_hdf(file, key="df_with_missing", mode="w")
    (root / "config.yaml").write_text(
        "Task: reach\nscorer: me\nvideo_sets:\n  a.avi:\n    crop: 0, 640, 0, 480\nbodyparts:\n- nose\n- tail\n"
        "skeleton:\n- - nose\n  - tail\n- - nose\n  - other\n"
    )
    return root


@pytest.mark.parametrize("suffix", ["csv", "h5"])
def test_projects(tmp_path: Path, draw_image: Make, suffix: str) -> None:
    root = project(tmp_path, draw_image, suffix=suffix)
    annotations = DlcReader().load(root, None, ReadOptions())
    assert len(annotations) == 20 and annotations.categories[0].skeleton == ((0, 1),)
    assert annotations.objects.points[:3].tolist() == [[0, 1, 2], [2, 3, 2], [4, 5, 2]]
    assert not annotations.notes and annotations.path(0).is_file()
    assert len(open_data(root / "config.yaml", "keypoints", "train")) == 16


def test_projects_deep_inside_are_told(tmp_path: Path, draw_image: Make) -> None:
    project(tmp_path / "code" / "shared" / "mouse", draw_image)
    shallow = open_data(tmp_path / "code" / "shared", "keypoints", "train")
    assert (
        "2 tables of a project inside of the folder were read: mouse/labeled-data/vidA/CollectedData_me.csv, "
        in str(shallow.notes[0])
    )
    (tmp_path / "code" / "setup.cfg").write_text("")
    with pytest.raises(
        DataError, match=r"tables of DeepLabCut lie deep inside, the first is .*vidA.*; name the folder"
    ):
        open_data(tmp_path / "code", "keypoints", "train")


def test_tables_in_training_datasets_are_left_aside(tmp_path: Path, draw_image: Make) -> None:
    root = project(tmp_path, draw_image)
    merged = root / "training-datasets" / "iteration-0" / "UnaugmentedDataSet_x" / "CollectedData_me.csv"
    merged.parent.mkdir(parents=True)
    merged.write_bytes((root / "labeled-data" / "vidA" / "CollectedData_me.csv").read_bytes())
    parts = {split: open_data(root, "keypoints", split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 16, "val": 2, "test": 2}
    note = "1 table in training-datasets, made of the others, was left aside: CollectedData_me.csv"
    assert str(parts["train"].notes[0]) == note
    assert len(open_data(merged.parent, "keypoints", "train")) == 8


def test_copies_of_tables_are_read_once(tmp_path: Path, draw_image: Make) -> None:
    root = project(tmp_path, draw_image)
    table = root / "labeled-data" / "vidA" / "CollectedData_me.csv"
    one_column = table.read_text().replace("labeled-data,vidA,", "labeled-data\\vidA\\").replace(",,,", ",")
    (table.parent / "CollectedData_mewindows.csv").write_text(one_column)
    index = open_data(root, "keypoints", "train")
    assert len(index) == 16
    assert str(index.notes[0]).startswith("10 images in several tables were read once: labeled-data/vidA/img000.png, ")
    (table.parent / "CollectedData_other.csv").write_text(table.read_text().replace("2.0", "99"))
    with pytest.raises(DataError, match="is in another table with different points; keep one"):
        open_data(root, "keypoints", "train")


@pytest.mark.parametrize("suffix", ["csv", "h5"])
def test_points_of_no_animal(tmp_path: Path, draw_image: Make, suffix: str) -> None:
    annotations = DlcReader().load(project(tmp_path, draw_image, suffix=suffix, unique=True), None, ReadOptions())
    assert annotations.categories[0].points == ("nose",) and len(annotations.objects) == 40
    assert [str(note) for note in annotations.notes] == [
        "1 point of 'single', which belongs to no animal, was left out: corner"
    ]


@pytest.mark.parametrize(
    ("separator", "encoding", "decimal"),
    [(",", "utf-8-sig", "."), (";", "utf-8", "."), (";", "utf-8-sig", ","), ("\t", "utf-8", ".")],
)
def test_tables_saved_by_a_spreadsheet(
    tmp_path: Path, draw_image: Make, separator: str, encoding: str, decimal: str
) -> None:
    rows = [["scorer", "me", "me"], ["bodyparts", "nose", "nose"], ["coords", "x", "y"]]
    for number in range(10):
        draw_image(tmp_path / "labeled-data" / "v" / f"img{number}.png")
        rows.append([f"labeled-data/v/img{number}.png", f"10{decimal}5", "20"])
    text = "\r\n".join(separator.join(row) for row in rows)
    (tmp_path / "labeled-data" / "v" / "CollectedData_me.csv").write_bytes(text.encode(encoding))
    annotations = DlcReader().load(tmp_path, None, ReadOptions())
    assert len(annotations) == 10 and annotations.objects.points[0].tolist() == [10.5, 20, 2]


def test_damaged_h5_tables(tmp_path: Path, draw_image: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(tmp_path, draw_image, suffix="h5")
    file = root / "labeled-data" / "vidA" / "CollectedData_me.h5"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"CollectedData_me\.h5: damaged, or no table of DeepLabCut"):
        open_data(root, "keypoints", "train")
    file.write_bytes(content)
    monkeypatch.setitem(sys.modules, "tables", None)
    with pytest.raises(DataError, match=r"HDF5 tables need pandas and PyTables .*pip install '\.\[deeplabcut\]'.*CSV"):
        open_data(root, "keypoints", "train")


def test_h5_tables_run_no_code(tmp_path: Path, draw_image: Make) -> None:
    import pickle

    import tables

    class Code:
        def __reduce__(self) -> object:
            return (Path.touch, (tmp_path / "ran",))

    root = project(tmp_path, draw_image, suffix="h5")
    file = root / "labeled-data" / "vidA" / "CollectedData_me.h5"
    with tables.open_file(str(file), "a") as opened:
        opened.root.df_with_missing._v_attrs.encoding = np.bytes_(pickle.dumps(Code(), protocol=0))
    try:
        open_data(root, "keypoints", "train")
    except DataError as error:
        assert "damaged, or no table of DeepLabCut" in str(error)
    assert not (tmp_path / "ran").exists()
