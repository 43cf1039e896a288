"""Tar archives as WebDataset writes them, without an index file."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.convert import convert_data
from vertebra.data.open import detect_format, open_data
from vertebra.data.readers.tar_shards import TarShardReader
from vertebra.errors import DataError
from vertebra.preprocess.images import read_image
from vertebra.shards.index_file import index_name


def picture(color: int = 0, suffix: str = "png") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (32, 24), (color, 0, 0)).save(content, {"jpg": "JPEG", "webp": "WEBP"}.get(suffix, "PNG"))
    return content.getvalue()


def write_tar(file: Path, members: dict[str, bytes | str], **changes: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", **changes) as opened:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            data = content.encode() if isinstance(content, str) else content
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    return file


def load(path: Path, split: str | None = None) -> Annotations:
    return TarShardReader().load(path, split, ReadOptions())


def labels(annotations: Annotations) -> list[str]:
    return [annotations.category_names[number] for _, number in annotations.labels.tolist()]


def notes(annotations: Annotations) -> str:
    return "; ".join(map(str, annotations.notes))


def test_class_numbers_with_a_list_of_names(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        members: dict[str, bytes | str] = {}
        for number in range(count):
            members |= {f"{number:04}.jpg": picture(number, "jpg"), f"{number:04}.cls": str(number % 2)}
        write_tar(tmp_path / "set" / f"{split}-000000.tar", members)
    (tmp_path / "set" / "classes.txt").write_text("dog\ncat\n")
    assert detect_format(tmp_path / "set") == "tar_shards"
    index = open_data(tmp_path / "set", "classify", "train")
    assert index.labels["classify"].classes == ("dog", "cat") and len(index) == 3
    assert read_image(index.path(1)).shape == (24, 32, 3)
    assert labels(load(tmp_path / "set", "val")) == ["dog", "cat"]
    assert load(tmp_path / "set").splits is not None and len(load(tmp_path / "set")) == 5
    (tmp_path / "set" / "classes.txt").write_text("dog\n")
    with pytest.raises(DataError, match="has the class 1, and 1 are named"):
        load(tmp_path / "set")


def test_class_numbers_without_names_keep_their_order(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {}
    for number in (10, 9, 2):
        members |= {f"{number}.webp": picture(number, "webp"), f"{number}.cls": f"{number}\n"}
    read = load(write_tar(tmp_path / "a.tar", members).parent)
    assert read.category_names == ("2", "9", "10") and labels(read) == ["10", "9", "2"]


def test_names_in_text_and_captions(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {}
    for number in range(6):
        members |= {f"{number}.png": picture(), f"{number}.txt": ("cat", "dog")[number % 2]}
    assert labels(load(write_tar(tmp_path / "a" / "a.tar", members).parent)) == ["cat", "dog"] * 3
    captions = {name: f"caption {name}" if name.endswith(".txt") else value for name, value in members.items()}
    read = load(write_tar(tmp_path / "b" / "a.tar", captions).parent)
    assert not len(read.labels) and "6 texts that is no name of a class were left out" in notes(read)


def test_coco_like_json(tmp_path: Path) -> None:
    document = {
        "width": 32,
        "height": 24,
        "annotations": [
            {"bbox": [1, 2, 10, 11.5], "category": "dog", "area": 3, "iscrowd": 1, "id": 7},
            {"segmentation": [[0, 0, 9, 0, 9, 9]], "category": "cat", "keypoints": [1, 2, 2, 3, 4, 0]},
            {"bbox": [1, 2, "x", 4], "category": "cat"},
            {"bbox": [1, 2, 3, 4]},
            5,
        ],
    }
    read = load(write_tar(tmp_path / "a.tar", {"s/1.png": picture(), "s/1.json": json.dumps(document)}).parent)
    assert read.objects.boxes[0].tolist() == [1, 2, 11, 13.5] and read.objects.areas[0] == 3
    assert read.objects.crowd.tolist() == [True, False] and read.objects.ids == (7, None)
    assert read.objects.has_shape.tolist() == [False, True] and len(read.objects.points) == 2
    assert read.dropped == 3 and read.sizes.tolist() == [[24, 32]] and read.images.tolist() == [b"a.tar/s/1.png"]


def test_nothing_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    code = pickle.dumps(Trap())
    members = {"1.png": picture(), "1.cls": "0", "1.pyd": code, "1.pth": code, "1.wav": b"x", "2.cls": "1"}
    read = load(write_tar(tmp_path / "a.tar", members).parent)
    assert "2 members of Python objects, which can run code" in notes(read)
    assert "1 member of a kind that is not read was left out: a.tar/1.wav" in notes(read)
    assert "1 member of a sample without an image was left out: a.tar/2" in notes(read)
    assert not (tmp_path / "executed").exists()


def test_names_that_leave_the_folder_and_links_are_left_out(tmp_path: Path) -> None:
    file = write_tar(tmp_path / "a.tar", {"1.png": picture(), "1.cls": "0", "../2.png": picture(), "/3.png": picture()})
    with tarfile.open(file, "a") as opened:
        link = tarfile.TarInfo("4.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(link)
    read = load(tmp_path)
    assert read.images.tolist() == [b"a.tar/1.png"]
    assert "3 members that is no plain file with a relative name were left out" in notes(read)
    for name in ("a.tar/../../a.tar", "a.tar/4.png", "a.tar/2.png"):
        with pytest.raises(DataError, match="no such member"):
            read_image(tmp_path / name)


def test_damage(tmp_path: Path) -> None:
    file = write_tar(tmp_path / "a.tar", {"1.png": picture(), "1.cls": "0", "2.png": picture(), "2.json": "{"})
    assert "1 annotation that is no JSON object was dropped" in notes(load(tmp_path))
    content = file.read_bytes()
    file.write_bytes(content[:700])
    with pytest.raises(DataError, match="a.tar: (cut off|damaged)"):
        load(tmp_path)
    file.write_bytes(b"no tar" * 500)
    assert not TarShardReader().looks_like(tmp_path)
    with pytest.raises(DataError, match="a.tar: damaged, or no tar archive"):
        load(tmp_path)
    write_tar(file, {"1.cls": "0"})
    with pytest.raises(DataError, match="no image in it"):
        load(tmp_path)


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    document = json.dumps({"file_name": "\ud800.png"})
    file = write_tar(tmp_path / "a.tar", {"1.png": picture(), "1.json": document, "1.cls": "0"})
    assert load(tmp_path).images.tolist() == [b"a.tar/1.png"]
    index = {"bytes": file.stat().st_size, "names": ["\ud800.png"], "starts": [512], "sizes": [9], "documents": {}}
    (tmp_path / "a.index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="a.index.json: damaged, no index file"):
        load(tmp_path)


def test_an_index_file_of_another_archive_is_an_error(tmp_path: Path) -> None:
    for number in range(2):
        folder = tmp_path / "plain" / ("cat", "dog")[number]
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(picture(number))
    convert_data(tmp_path / "plain", "tar", tmp_path / "tar")
    archive = next((tmp_path / "tar").glob("*.tar"))
    assert detect_format(archive) == "tar_shards" and len(load(archive)) == 2
    archive.write_bytes(archive.read_bytes() + bytes(512))
    with pytest.raises(DataError, match="of another archive than data-000000.tar is now"):
        load(tmp_path / "tar")
    Path(index_name(str(archive))).unlink()
    assert len(load(tmp_path / "tar")) == 2


@pytest.mark.parametrize("cut", ["in a picture", "in a header", "between members", "at the start"])
def test_an_archive_that_is_cut_off_is_told(tmp_path: Path, cut: str) -> None:
    for number in range(4):
        folder = tmp_path / "plain" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(picture(number))
    convert_data(tmp_path / "plain", "tar", tmp_path / "tar")
    archive = next((tmp_path / "tar").glob("*.tar"))
    with tarfile.open(archive) as opened:
        start = opened.getmembers()[-2].offset_data
    length = {
        "in a picture": start + 20,
        "in a header": start - 100,
        "between members": start - 512,
        "at the start": 100,
    }
    archive.write_bytes(archive.read_bytes()[: length[cut]])
    for path in (tmp_path / "tar", archive):
        with pytest.raises(DataError, match=r"000.tar: cut off, it has \d+ of the \d+ bytes in .*; copy it again"):
            open_data(path, "classify", "train")
    Path(index_name(str(archive))).unlink()
    (tmp_path / "tar" / "dataset.json").unlink()
    for path in (tmp_path / "tar", archive):
        with pytest.raises(DataError, match=r"000.tar.* cut off.*; copy (it|the file) again"):
            open_data(path, "classify", "train")


def test_other_tars_are_no_shards(tmp_path: Path) -> None:
    write_tar(tmp_path / "a" / "n01440764.tar", {"1.png": picture(), "2.png": picture()})
    write_tar(tmp_path / "b" / "all.tar", {"images/1.png": picture(), "annotations/1.json": "{}"})
    write_tar(tmp_path / "c" / "x.tar", {"1.png": picture(), "1.cls": "0"}, format=tarfile.PAX_FORMAT)
    assert [TarShardReader().looks_like(tmp_path / name) for name in "abc"] == [False, False, True]


def test_masks_and_groups_are_kept(tmp_path: Path) -> None:
    for number in range(2):
        for folder, mode in (("images", "RGB"), ("masks", "L")):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            Image.new(mode, (32, 24), number).save(tmp_path / "set" / folder / f"{number}.png")
    (tmp_path / "set" / "classes.txt").write_text("road\ncar\n")
    convert_data(tmp_path / "set", "tar", tmp_path / "tar")
    read = load(tmp_path / "tar")
    assert read.masks is not None and read.category_names == ("road", "car")
    index = open_data(tmp_path / "tar", "segment", "train")
    values = {int(index.columns["segment"].get(row, (24, 32)).mask[0, 0]) for row in range(len(index))}
    assert values <= {0, 1} and np.all(read_image(index.path(0)) <= 1)
    convert_data(tmp_path / "tar", "masks", tmp_path / "again")
    assert sorted(file.name for file in (tmp_path / "again").rglob("*.png")) == ["0.png", "0.png", "1.png", "1.png"]
