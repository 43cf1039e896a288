"""Hugging Face data sets, in the files that `datasets` writes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.convert import convert_data
from vertebra.data.open import detect_format, open_data, readings
from vertebra.data.readers import hub
from vertebra.data.readers.hf import HfReader
from vertebra.errors import DataError
from vertebra.preprocess.images import read_image

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402  # after the check

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LABEL = {"names": ["cat", "dog"], "_type": "ClassLabel"}
LABELED = {"image": {"_type": "Image"}, "label": LABEL}
BOXED = {
    "image_id": {"dtype": "int64", "_type": "Value"},
    "image": {"_type": "Image"},
    "width": {"dtype": "int32", "_type": "Value"},
    "height": {"dtype": "int32", "_type": "Value"},
    "objects": {
        "feature": {
            "id": {"dtype": "int64", "_type": "Value"},
            "area": {"dtype": "int64", "_type": "Value"},
            "bbox": {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "Sequence"},
            "category": LABEL,
        },
        "_type": "Sequence",
    },
}


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))


def cell(number: int, suffix: str = "PNG") -> dict[str, Any]:
    content = io.BytesIO()
    Image.new("RGB", (32, 24), (number, 0, 0)).save(content, suffix)
    return {"bytes": content.getvalue(), "path": f"{number}.{suffix.lower()}"}


def table(columns: Mapping[str, Sequence[Any]], features: Mapping[str, Any] | None, **types: Any) -> Any:
    arrays = {name: pa.array(values, type=types.get(name)) for name, values in columns.items()}
    metadata = {} if features is None else {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.table(arrays).replace_schema_metadata(metadata)


def labeled(count: int, first: int = 0) -> Any:
    rows = range(first, first + count)
    return table({"image": [cell(n) for n in rows], "label": [n % 2 for n in rows]}, LABELED, image=IMAGE)


def boxed(objects: Sequence[Any], features: Mapping[str, Any] | None = BOXED) -> Any:
    count = len(objects)
    return table(
        {
            "image_id": [100 + number for number in range(count)],
            "image": [cell(number) for number in range(count)],
            "width": [32] * count,
            "height": [24] * count,
            "objects": objects,
        },
        features,
        image=IMAGE,
    )


def save(folder: Path, content: Any, shards: int = 1) -> Path:
    """Writes what ``save_to_disk`` writes: streams of record batches, and what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{number:05}-of-{shards:05}.arrow" for number in range(shards)]
    for number, name in enumerate(names):
        part = content.slice(number * len(content) // shards, len(content) // shards)
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, content.schema) as writer:
            writer.write_table(part, max_chunksize=2)
    (folder / "dataset_info.json").write_text(json.dumps({"features": LABELED}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return folder


def load(path: Path, split: str | None = None, **options: Any) -> Annotations:
    return HfReader().load(path, split, ReadOptions(**options))


def notes(annotations: Annotations) -> str:
    return "; ".join(map(str, annotations.notes))


def test_saved_to_disk_with_splits(tmp_path: Path) -> None:
    save(tmp_path / "set" / "train", labeled(6), shards=2)
    save(tmp_path / "set" / "validation", labeled(3, first=6))
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    assert detect_format(tmp_path / "set") == "hf" and readings(tmp_path / "set", "classify") == ["hf"]
    index = open_data(tmp_path / "set", "classify", "train")
    assert index.labels["classify"].classes == ("cat", "dog") and len(index) == 6
    column = index.columns["classify"]
    for row in range(6):
        assert read_image(index.path(row))[0, 0].tolist() == [row, 0, 0]
        assert column.get(row, (24, 32)).label == row % 2
    assert index.path(4).as_posix().endswith("data-00001-of-00002.arrow/image/1.png")
    assert [
        read_image(path)[0, 0, 0] for path in map(open_data(tmp_path / "set", "classify", "val").path, range(3))
    ] == [6, 7, 8]
    convert_data(tmp_path / "set", "tar", tmp_path / "tar")
    assert len(open_data(tmp_path / "tar", "classify", "train")) == 6


@pytest.mark.parametrize("rows", [False, True])
def test_objects_with_boxes(tmp_path: Path, rows: bool) -> None:
    lists = [
        {"id": [1, 2], "area": [50, 6], "bbox": [[1.0, 2, 10, 5], [0, 0, 2, 3]], "category": [1, 0]},
        {"id": [], "area": [], "bbox": [], "category": []},
        {"id": [3], "area": [1], "bbox": [[1.0, 2, float("nan"), 5]], "category": [1]},
        {"id": [4], "area": [1], "bbox": [[1.0, 2, 3, 5]], "category": [9]},
    ]
    structs = [[dict(zip(one, values, strict=True)) for values in zip(*one.values(), strict=True)] for one in lists]
    read = load(save(tmp_path / "set", boxed(structs if rows else lists)))
    assert read.objects.boxes.tolist() == [[1, 2, 11, 7], [0, 0, 2, 3]] and read.objects.ids == (1, 2)
    assert [read.category_names[k] for k in read.objects.categories] == ["dog", "cat"]
    assert read.image_ids == (100, 101, 102, 103) and read.sizes.tolist() == [[24, 32]] * 4
    assert read.dropped == 2 and "whose 'bbox' is not four finite numbers" in notes(read)
    assert "whose class number is not below 2" in notes(read)
    index = open_data(tmp_path / "set", "detect", "train")
    assert index.labels["detect"].classes == ("cat", "dog")


def test_parquet_as_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "README.md").write_text("---\nlicense: mit\n---\n")
    for split, count in (("train", 4), ("test", 2)):
        parquet.write_table(
            labeled(count), tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet", row_group_size=2
        )
    assert detect_format(tmp_path / "set") == "hf" and readings(tmp_path / "set", "classify") == ["hf"]
    index = open_data(tmp_path / "set", "classify", "test")
    assert len(index) == 2 and read_image(index.path(1))[0, 0].tolist() == [1, 0, 0]
    assert "1 Parquet file was converted to Arrow in" in "; ".join(map(str, index.notes))
    single = next((tmp_path / "set" / "data").glob("test*"))
    assert detect_format(single) == "hf" and len(load(single)) == 2


def test_texts_lists_and_further_columns(tmp_path: Path) -> None:
    content = table(
        {
            "img": [cell(0), cell(1, "JPEG"), cell(2, "WEBP")],
            "label": [["cat"], ["dog", "cat"], []],
            "mask": [cell(0)] * 3,
            "coarse": [0, 1, 0],
        },
        None,
        img=IMAGE,
        mask=IMAGE,
    )
    (tmp_path / "x.json").write_text("")
    read = load(save(tmp_path / "set", content))
    assert [read.category_names[k] for _, k in read.labels.tolist()] == ["cat", "dog", "cat"]
    assert "1 column of images or classes was left aside; choose with columns: mask" in notes(read)
    assert [Path(name.decode()).suffix for name in read.images.tolist()] == [".png", ".jpg", ".webp"]
    chosen = load(tmp_path / "set", columns=(("label", "coarse"), ("image", "mask")))
    assert chosen.category_names == ("0", "1")
    with pytest.raises(DataError, match="it has no column 'fine', only"):
        load(tmp_path / "set", columns=(("label", "fine"),))


def test_image_files_beside_and_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(cell(1)["bytes"])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(cell(7)["bytes"])
    paths = ("a.png", "../secret.png", str(tmp_path / "secret.png"), "missing.png", None)
    cells = [{"bytes": None, "path": path} for path in paths]
    content = table({"image": cells, "label": [0, 1, 0, 1, 0]}, LABELED, image=IMAGE)
    read = load(save(tmp_path / "set", content))
    assert len(read) == 1 and read_image(read.path(0))[0, 0].tolist() == [7, 0, 0]
    assert "3 rows whose file does not exist in the data set's folder were left out" in notes(read)
    assert "1 row without an image was left out" in notes(read)


def test_damage(tmp_path: Path) -> None:
    save(tmp_path / "set", labeled(4))
    file = tmp_path / "set" / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    file.write_bytes(content[:300])
    with pytest.raises(DataError, match=r"arrow: damaged, or no Arrow file"):
        load(tmp_path / "set")
    (tmp_path / "set" / "state.json").write_text("{}")
    with pytest.raises(DataError, match=r"state.json: damaged, it names no files beside it"):
        load(tmp_path / "set")
    (tmp_path / "set" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../x.arrow"}]}))
    with pytest.raises(DataError, match=r"state.json: damaged"):
        load(tmp_path / "set")
    generator = np.random.default_rng(0)
    (tmp_path / "set" / "state.json").write_text(json.dumps({"_data_files": [{"filename": file.name}]}))
    for _ in range(60):
        changed = bytearray(content)
        for place in generator.integers(0, 1200, 3).tolist():
            changed[place] = generator.integers(256)
        file.write_bytes(changed)
        try:
            read = load(tmp_path / "set")
            for row in range(len(read)):
                read_image(read.path(row))
        except DataError as error:
            assert str(error).strip()


def hub_module(version: str, parts: Mapping[str, Sequence[Path]], seen: list[Any]) -> ModuleType:
    module = ModuleType("datasets")

    def load_dataset(name: str, config: str | None) -> Any:
        seen.append((name, config))
        if name == "a/missing":
            raise FileNotFoundError("no such data set")
        return {
            split: SimpleNamespace(cache_files=[{"filename": str(file)} for file in files])
            for split, files in parts.items()
        }

    module.__dict__.update(__version__=version, load_dataset=load_dataset)
    return module


def test_by_name_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.hub_files.cache_clear()
    files = {
        split: [save(tmp_path / "hub" / split, labeled(count)) / "data-00000-of-00001.arrow"]
        for split, count in (("train", 4), ("validation", 2))
    }
    seen: list[Any] = []
    monkeypatch.setitem(sys.modules, "datasets", hub_module("4.1.0", files, seen))
    index = open_data("hf:a/pets:small", "classify", "val")
    assert len(index) == 2 and read_image(index.path(1))[0, 0].tolist() == [1, 0, 0]
    assert len(open_data("hf:a/pets:small", "classify", "train")) == 4
    assert seen == [("a/pets", "small")]
    with pytest.raises(DataError, match="hf:a/missing: cannot be loaded from the hub"):
        open_data("hf:a/missing", "classify", "train")
    with pytest.raises(DataError, match="no name of a data set; write hf:OWNER/NAME"):
        open_data("hf:a/b/c", "classify", "train")
    monkeypatch.setitem(sys.modules, "datasets", hub_module("3.6.0", files, seen))
    with pytest.raises(DataError, match="can run code that comes with a data set"):
        open_data("hf:a/other", "classify", "train")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs the package datasets: pip install .*\[hub\]"):
        open_data("hf:a/third", "classify", "train")


def test_a_folder_of_images_with_metadata_is_a_table(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / f"{number}.png").write_bytes(cell(number)["bytes"])
    lines = [{"file_name": f"{n}.png", "objects": {"bbox": [[1, 2, 10, 5]], "categories": [n % 2]}} for n in range(4)]
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    index = open_data(tmp_path, "detect", "train")
    assert index.columns["detect"].get(0, (24, 32)).boxes.tolist() == [[1, 2, 11, 7]]
    (tmp_path / "train" / "metadata.jsonl").unlink()
    (tmp_path / "train" / "metadata.csv").write_text(
        "file_name,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(4))
    )
    assert open_data(tmp_path, "classify", "train").labels["classify"].classes == ("a", "b")
