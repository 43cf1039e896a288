"""A cache of decoded images gives the same pixels as none, to all loader processes, and refuses what does not fit."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from vertebra.data import open_cache as module
from vertebra.data.free_memory import free_memory
from vertebra.data.loaders import build_loader
from vertebra.data.open import open_data
from vertebra.data.open_cache import open_cache
from vertebra.data.pixel_storage import CHECKS, PIXELS, FileStorage, MemoryStorage
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Source
from vertebra.errors import ConfigError
from vertebra.preprocess import jpeg
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment

COUNT = 6  # images of a class
CUT = 1500  # bytes that are left of a file


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Large JPEG files, a turned one, a PNG file and one that is cut off, as folders of classes."""
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    for number in range(2 * COUNT):
        folder = tmp_path / "photos/train" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 3 else 1
        small.resize((320, 240)).save(folder / f"{number:02}.{'png' if number == 4 else 'jpg'}", exif=exif)
        shutil.copytree(folder, tmp_path / "photos/val" / folder.name, dirs_exist_ok=True)
    broken = folder / "11.jpg"
    broken.write_bytes(broken.read_bytes()[:CUT])
    return tmp_path / "photos"


def data_of(photos: Path, augment: Augment | None = Augment.preset("default")) -> MixedData:  # noqa: B008  # frozen
    index = open_data(photos, "classify", "train")
    source = Source(index, {"animal": "classify"})
    return MixedData(
        [source], {"animal": index.labels["classify"]}, ResizeSpec((32, 40)), augment, reduced_decoding=True
    )


def images_of(data: MixedData, epoch: int = 0, workers: int = 0) -> torch.Tensor:
    sampler = MixSampler(data, 4, seed=3)
    sampler.set_epoch(epoch)
    return torch.cat([batch.images for batch in build_loader(data, sampler, workers=workers)])


class Decoded(NamedTuple):
    """At which scales JPEG files were decoded that are not cut off."""

    factors: list[int]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    factors: list[int] = []
    decode = jpeg.decode

    def counted(content: bytes, header: jpeg.JpegHeader, factor: int = 1, *rest: Any) -> Any:
        factors.extend([factor] if len(content) > CUT else [])
        return decode(content, header, factor, *rest)

    monkeypatch.setattr(jpeg, "decode", counted)
    return Decoded(factors)


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_the_pixels_are_those_without_a_cache(photos: Path, mode: Any, decoded: Decoded) -> None:
    plain, cached = data_of(photos), data_of(photos)
    assert "decoded images are kept" in open_cache([cached], mode)
    for epoch in range(3):
        assert torch.equal(images_of(cached, epoch), images_of(plain, epoch))
    assert len(set(decoded.factors)) > 1
    assert list(cached.skipped) == list(plain.skipped) == [str(photos / "train/b/11.jpg")]
    decoded.factors.clear()
    images_of(cached, 2)
    assert not decoded.factors


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="processes are not forked here")
def test_loader_processes_share_it(photos: Path) -> None:
    plain, cached = data_of(photos), data_of(photos)
    open_cache([cached], "memory")
    assert torch.equal(images_of(cached, workers=2), images_of(plain))
    cache = cached.caches[0]
    assert cache is not None and cache.storage.checks.any()  # written by them


def test_evaluation_and_other_transforms(photos: Path) -> None:
    """Whole images are kept too, and are copied, as a transform may change them."""
    plain, cached = data_of(photos, None), data_of(photos, None)
    open_cache([cached], "memory")
    for _ in range(2):
        for row in range(len(cached)):
            assert torch.equal(cached[SampleKey(0, row)].image, plain[SampleKey(0, row)].image)
    cache = cached.caches[0]
    assert cache is not None
    cached._read(0, 0)[1].decoded()[:] = 0  # type: ignore[union-attr]
    pixels = cache.get(0, 1)
    assert pixels is not None and pixels.any()


def test_files_of_an_earlier_run(photos: Path, decoded: Decoded) -> None:
    """They are used again if they are whole and the images are the same."""
    expected = images_of(data_of(photos))
    first = data_of(photos)
    open_cache([first], "disk")
    images_of(first)
    decoded.factors.clear()
    second = data_of(photos)
    open_cache([second], "disk")
    assert torch.equal(images_of(second), expected)
    assert not decoded.factors
    [folder] = (photos.parent / "cache/images").iterdir()
    (folder / PIXELS).write_bytes(bytes((folder / PIXELS).stat().st_size))
    third = data_of(photos)
    open_cache([third], "disk")
    assert torch.equal(images_of(third), expected)
    path = photos / "train/a/00.jpg"
    Image.new("RGB", (320, 240)).save(path)
    fourth = data_of(photos)
    open_cache([fourth], "disk")
    assert torch.equal(images_of(fourth), images_of(data_of(photos)))
    assert len(list((photos.parent / "cache/images").iterdir())) == 2


def test_a_file_that_changes_during_a_run_is_told(photos: Path) -> None:
    data = data_of(photos, None)
    open_cache([data], "memory")
    Image.new("RGB", (100, 80)).save(photos / "train/a/00.jpg")
    assert "has changed since the run began" in data[SampleKey(0, 0)].skipped[0].reason


def test_what_does_not_fit_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_memory", lambda: 500_000)
    with pytest.raises(ConfigError, match=r"'train.cache: memory' needs up to .* for 12 images, and 1 MB of memory"):
        open_cache([data_of(photos)], "memory")
    usage = type(shutil.disk_usage(photos))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 500_000))
    with pytest.raises(
        ConfigError, match=r"'train.cache: disk' needs up to .* set VERTEBRA_CACHE to a folder on another disk"
    ):
        open_cache([data_of(photos)], "disk")


def test_a_full_disk_ends_only_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = FileStorage(tmp_path / "files", 128, 2)
    pixels = np.arange(64, dtype=np.uint8)
    assert storage.write(64, pixels) and (storage.view(64, 64) == pixels).all()
    storage.checks[1] = 5
    assert FileStorage(tmp_path / "files", 128, 2).checks.tolist() == [0, 5]
    (tmp_path / "files" / PIXELS).unlink()
    assert not storage.write(0, pixels) and "no more images are kept there" in capsys.readouterr().err
    assert (tmp_path / "files" / CHECKS).stat().st_size == 16


def test_memory_for_spawned_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    storage = MemoryStorage(64, 1)
    assert storage.write(8, np.full(4, 7, dtype=np.uint8)) and storage.view(8, 4).tolist() == [7] * 4
    assert "Array" in type(storage._buffer).__name__  # which processes that are started later can be sent


def test_free_memory_of_a_container(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n",
        "proc/self/cgroup": "0::/job\n",
        "sys/fs/cgroup/job/memory.max": "5000000\n",
        "sys/fs/cgroup/job/memory.current": "4000000\n",
        "sys/fs/cgroup/job/memory.stat": "anon 5\ninactive_file 500000\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == 1_500_000
    (tmp_path / "sys/fs/cgroup/job/memory.max").write_text("max\n")
    assert free_memory(tmp_path) == 8000 * 1024
    (tmp_path / "proc/meminfo").unlink()
    assert (free_memory(tmp_path) or 1) > 0
