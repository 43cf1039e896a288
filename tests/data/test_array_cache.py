"""Arrays in the user's cache folder, and large COCO files that come from there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data import array_cache
from vertebra.data.array_cache import Entry, file_hash, load_entry, store_entry
from vertebra.data.open import open_data
from vertebra.data.readers import coco_cache
from vertebra.data.readers.coco import CocoReader
from vertebra.errors import DataError

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "none": np.zeros((0, 2)), "flags": np.array([True, False])}
VALUES = {"names": ["é", "\ud800"], "number": 1.5}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every COCO file counts as a large one."""
    monkeypatch.setattr(coco_cache, "CACHED", 0)


def test_an_entry_comes_back_and_is_mapped(cache: Path) -> None:
    store_entry("key", Entry(ARRAYS, VALUES))
    entry = load_entry("key")
    assert entry is not None and entry.values == VALUES
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(entry.arrays[name], array)
        assert entry.arrays[name].dtype == array.dtype
    assert isinstance(entry.arrays["a"].base, np.memmap) and not entry.arrays["a"].flags.writeable
    assert load_entry("other") is None and sorted(path.name for path in cache.iterdir()) == ["key"]


@pytest.mark.parametrize("name", ["a.npy", "flags.npy", "values.json", "index.json"])
def test_a_damaged_entry_is_removed(cache: Path, name: str) -> None:
    draw = np.random.default_rng(0)
    for attempt in range(20):
        store_entry("key", Entry(ARRAYS, VALUES))
        file = cache / "key" / name
        content = bytearray(file.read_bytes())
        if attempt % 3 == 0:
            content = content[: int(draw.integers(len(content)))]
        elif attempt % 3 == 1:
            content[int(draw.integers(len(content)))] ^= 1 << int(draw.integers(8))
        else:
            content = bytearray(draw.bytes(len(content)))
        file.write_bytes(content)
        entry = load_entry("key")
        if entry is None:
            assert not (cache / "key").exists()
        else:  # a byte that means nothing, as the padding of a header
            assert entry.values == VALUES and all(np.array_equal(entry.arrays[key], ARRAYS[key]) for key in ARRAYS)
            (cache / "key" / name).unlink()
            assert load_entry("key") is None


def test_no_pickle_is_loaded(cache: Path) -> None:
    store_entry("key", Entry(ARRAYS, VALUES))
    np.save(cache / "key" / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert load_entry("key") is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "file" / "cache"))
    store_entry("key", Entry(ARRAYS, VALUES))
    assert load_entry("key") is None


def test_entries_used_least_recently_are_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"a": np.zeros(1000, dtype=np.uint8)}
    monkeypatch.setattr(array_cache, "MAX_BYTES", 5000)
    for number in range(6):
        store_entry(f"key{number}", Entry(arrays, None))
        moment = time.time() - 100 + number
        os.utime(cache / f"key{number}" / "index.json", (moment, moment))
        assert number == 0 or load_entry("key0") is not None
    kept = sorted(path.name for path in cache.iterdir())
    assert "key0" in kept and "key5" in kept and "key1" not in kept
    store_entry("large", Entry({"a": np.zeros(6000, dtype=np.uint8)}, None))
    assert load_entry("large") is None


def test_the_hash_is_of_all_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_cache, "BLOCK", 10)
    file = tmp_path / "a"
    hashes = set()
    for content in (b"", b"a" * 25, b"a" * 24 + b"b", b"b" + b"a" * 24, b"a" * 26):
        file.write_bytes(content)
        hashes.add(file_hash(file))
    assert len(hashes) == 5


def one(image: int, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 5, **more}


def entries() -> list[dict[str, Any]]:
    outline = [[2, 3, 7, 3, 7, 8, 2, 8], [1, 1]]
    return [
        one(10, segmentation=outline, attributes={"a": [1, None]}),
        one(11, segmentation={"size": [24, 32], "counts": [8, 2, 758]}, iscrowd=1, id="x"),
        one(12, keypoints=[1, 2, 2], num_keypoints=3),
        one(99),
        one(12, bbox=None, segmentation=outline),
    ]


def same(first: Annotations, second: Annotations) -> None:
    for name in ("images", "sizes", "annotated"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in ("categories", "image_ids", "dropped", "where", "root", "notes"):
        assert getattr(first, name) == getattr(second, name)
    for name in ("rows", "categories", "boxes", "points", "point_offsets", "crowd", "areas"):
        np.testing.assert_array_equal(getattr(first.objects, name), getattr(second.objects, name))
        assert getattr(first.objects, name).dtype == getattr(second.objects, name).dtype
    assert first.objects.ids == second.objects.ids and first.objects.attributes == second.objects.attributes
    shapes, others = first.objects.shapes, second.objects.shapes
    assert shapes is not None and others is not None
    for name in ("points", "outlines", "outlines_of", "runs", "runs_of", "text", "text_of", "sizes"):
        np.testing.assert_array_equal(getattr(shapes, name), getattr(others, name))
    assert shapes.notes == others.notes and len(shapes.notes) == 1


def test_a_file_from_the_cache_is_the_same(
    coco: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = coco(entries())
    before = CocoReader().load(path, None, ReadOptions())
    assert not cache.exists()
    monkeypatch.setattr(coco_cache, "CACHED", 0)
    for _ in range(3):
        same(CocoReader().load(path, None, ReadOptions()), before)
    assert len(list(cache.iterdir())) == 2  # the columns and the shapes
    monkeypatch.setattr(coco_cache, "decode_coco", None)  # all comes from the cache
    same(CocoReader().load(path, None, ReadOptions()), before)


@pytest.mark.usefixtures("large")
def test_shapes_are_read_when_a_task_needs_them(coco: Callable[..., Path], cache: Path) -> None:
    path = coco(entries()[:3])
    for _ in range(2):
        open_data(path, "detect", "train")
        assert not [entry for entry in cache.iterdir() if entry.name.endswith("shapes")]
    open_data(path, "segment", "train")
    assert [entry for entry in cache.iterdir() if entry.name.endswith("shapes")]


@pytest.mark.usefixtures("large")
def test_a_changed_file_is_read_again(coco: Callable[..., Path], cache: Path) -> None:
    path = coco(entries())
    assert len(open_data(path, "detect", "train")) == 2
    stamp = path.stat()
    path.write_text(path.read_text().replace('"dog"', '"cow"'))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert open_data(path, "detect", "train").labels["detect"].classes[0] == "cow"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "annotations": content["annotations"][:2]}))
    first = CocoReader().load(path, None, ReadOptions())
    path.write_text(json.dumps({**content, "annotations": content["annotations"][:1]}))
    assert first.objects.shapes is not None and len(first.objects.shapes.drawn) == 2  # they are in memory


@pytest.mark.usefixtures("large", "cache")
def test_a_file_that_changes_before_its_shapes_are_read_is_an_error(coco: Callable[..., Path]) -> None:
    path = coco(entries())
    CocoReader().load(path, None, ReadOptions())
    later = CocoReader().load(path, None, ReadOptions())
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content, indent=1))
    with pytest.raises(DataError, match="changed while it was read"):
        later.objects.shapes.drawn  # type: ignore[union-attr]  # noqa: B018


@pytest.mark.usefixtures("large")
def test_images_are_looked_for_each_time(coco: Callable[..., Path], cache: Path) -> None:
    path = coco(entries())
    assert len(CocoReader().load(path, None, ReadOptions())) == 3
    (path.parent / "images" / "1.png").unlink()
    left = CocoReader().load(path, None, ReadOptions())
    assert left.images.tolist() == [b"images/0.png", b"images/2.png"] and left.objects.rows.tolist() == [0, 1, 1]
