"""Indices that come from the user's cache folder are those that are read without it."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vertebra.annotations.class_edits import ClassEdits
from vertebra.data import array_cache
from vertebra.data.array_cache import known_hash
from vertebra.data.index import Index
from vertebra.data.index_cache import NotStorable, from_json, to_json
from vertebra.data.open import open_data
from vertebra.data.readers import base, coco_cache
from vertebra.tasks.detect.labels import DetectLabels

Coco = Callable[..., Path]
OUTLINE = [[2, 3, 7, 3, 7, 8, 2, 8]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def data(coco: Coco) -> Path:
    """A COCO file with boxes, outlines, points and annotations that get notes."""
    annotations = [
        {
            "image_id": 10 + number % 8,
            "category_id": 7 if number % 3 else 3,
            "bbox": [number % 5, 2, 3, 4],
            "segmentation": OUTLINE,
            "keypoints": [1, 2, 2, number % 7, 4, 1],
        }
        for number in range(24)
    ]
    wrong = [
        {"image_id": 10, "category_id": 7, "bbox": [1, 1, 0, 0]},
        {"image_id": 99, "category_id": 7, "bbox": [1] * 4},
    ]
    categories = [
        {"id": key, "name": name, "keypoints": ["a", "b"], "skeleton": [[1, 2]]} for key, name in ((7, "é"), (3, "cat"))
    ]
    return coco([*annotations, *wrong], images=8, categories_=categories)


def content(value: Any) -> Any:
    """All that an index holds, in a form that compares."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (type(value), [content(getattr(value, each.name)) for each in dataclasses.fields(value)])
    if isinstance(value, dict):
        return {key: content(inner) for key, inner in value.items()}
    return [content(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def entries(cache: Path) -> set[str]:
    return {entry.name for entry in cache.iterdir() if entry.name.startswith("index-")} if cache.exists() else set()


@pytest.mark.parametrize("task", ["detect", "instances", "segment", "keypoints"])
@pytest.mark.parametrize("edits", [None, ClassEdits({"animal": ("cat", "é")})], ids=["", "edited"])
def test_an_index_from_the_cache_is_the_same(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, task: str, edits: ClassEdits | None
) -> None:
    def opened() -> list[Index]:
        return [open_data(data, task, split, edits=edits) for split in ("train", "val", "test")]

    before = opened()
    assert not entries(cache)
    monkeypatch.setattr(coco_cache, "CACHED", 0)
    assert content(opened()) == content(before) and len(entries(cache)) == 3
    monkeypatch.setattr(base, "index_of", None)  # all comes from the cache
    again = opened()
    assert content(again) == content(before)
    assert isinstance(again[0].images.base, np.memmap) and again[0].notes


def test_whatever_an_index_depends_on_makes_another(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_cache, "CACHED", 0)
    settings: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"classes": ["cat", "é"]},
        {"classes": ["cat"]},
        {"edits": ClassEdits(drop=("cat",))},
    ]
    for number, changed in enumerate(settings):
        index = open_data(data, "detect", "train", **changed)
        assert len(entries(cache)) == number + 1
        assert content(open_data(data, "detect", "train", **changed)) == content(index)
    count = sum(len(open_data(data, "detect", split)) for split in ("train", "val", "test"))
    (data.parent / "images" / "3.png").unlink()
    left = [open_data(data, "detect", split) for split in ("train", "val", "test")]
    assert sum(map(len, left)) == count - 1 and any("not found" in str(note) for note in left[0].notes)


def test_a_damaged_entry_is_derived_again(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_cache, "CACHED", 0)
    before = content(open_data(data, "detect", "train"))
    (key,) = entries(cache)
    entry = array_cache.load_entry(key)
    assert entry is not None
    changes: list[Callable[[Any], Any]] = [
        lambda values: {**values, "column": {"class": ["os", "stat_result"], "fields": {}}},
        lambda values: {**values, "column": {"class": ["vertebra.errors", "DataError"], "fields": {}}},
        lambda values: {**values, "column": {**values["column"], "fields": {"gone": 1}}},
        lambda values: {**values, "labels": {"array": "gone"}},
        lambda values: {},
        lambda values: None,
    ]
    for change in changes:
        array_cache.remove_entry(key)
        array_cache.store_entry(key, array_cache.Entry(entry.arrays, change(entry.values)))
        assert content(open_data(data, "detect", "train")) == before
        repaired = array_cache.load_entry(key)
        assert repaired is not None and repaired.values == entry.values


def test_values_come_back_and_others_are_refused() -> None:
    arrays: dict[str, np.ndarray] = {}
    value = (None, True, 1.5, "é", Path("a"), np.arange(3), DetectLabels(("a", "b")), ((), (1,)))
    stored = json.loads(json.dumps(to_json(value, arrays)))
    assert content(from_json(stored, arrays, {"vertebra"})) == content(value)
    for other in ({1}, {"a": 1}, object(), np.array([{}])):
        with pytest.raises(NotStorable):
            to_json((other,), {})


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files that are read for their hash."""
    read: list[Path] = []
    whole = array_cache.file_hash

    def file_hash(file: Path) -> str:
        read.append(file)
        return whole(file)

    monkeypatch.setattr(array_cache, "file_hash", file_hash)
    yield read


@pytest.mark.skipif(os.name != "posix", reason="Windows has no time of the last change of a file's properties")
def test_a_file_is_hashed_once_for_each_version(
    tmp_path: Path, cache: Path, counted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_text("first")
    stamp = file.stat()
    first = known_hash(file)
    assert known_hash(file) == first and len(counted) == 2, "a file that has just changed is read again"
    monkeypatch.setattr(array_cache, "SETTLED", 0)
    assert [known_hash(file) for _ in range(3)] == [first] * 3 and len(counted) == 3
    time.sleep(0.02)  # a tick of the file system's clock
    file.write_text("other")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert known_hash(file) != first and len(counted) == 4
