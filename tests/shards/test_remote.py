"""Tar shards at a URL: the same images, blocks read once, faults of the network, order and resuming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from tests.shards.range_server import Served, serve
from vertebra.data.block_order import WINDOW, by_blocks
from vertebra.data.check.run import check_data
from vertebra.data.convert import convert_data
from vertebra.data.index import Index
from vertebra.data.loaders import Loader, build_loader
from vertebra.data.open import open_data
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData
from vertebra.data.sources import Source
from vertebra.errors import DataError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import image_size, read_image
from vertebra.recipe.augment import Augment
from vertebra.shards import remote
from vertebra.shards.members import file_bytes, file_size, remote_blocks

Make = Callable[[int], Path]


@pytest.fixture
def served(class_folders: Make, tmp_path: Path) -> Iterator[Served]:
    """40 images of each split in shards of at most 20 kB."""
    convert_data(class_folders(40), "tar", tmp_path / "tar", shard_size=0.02)
    with serve(tmp_path / "tar") as server:
        yield server


def loader(index: Index, workers: int = 0) -> Loader:
    labels = {"animal": index.labels["classify"]}
    augment = Augment.preset("light")
    data = MixedData([Source(index, {"animal": "classify"})], labels, ResizeSpec((16, 16)), augment, seed=7)
    return build_loader(data, MixSampler(data, 4, seed=7), workers=workers)


def test_a_url_opens_as_the_folder_does(served: Served, tmp_path: Path) -> None:
    index, plain = open_data(served.url, "classify", "val"), open_data(tmp_path / "plain", "classify", "val")
    assert not served.ranges(), "opening reads no image"
    assert len(index) == 40 and index.labels == plain.labels
    assert index.path(0).as_posix().endswith("/val-000000.tar/val/cat/val001.png")
    names = {plain.path(row).name: row for row in range(40)}
    for row in range(40):
        other = names[index.path(row).name]
        assert (read_image(index.path(row)) == read_image(plain.path(other))).all()
        assert file_bytes(index.path(row)) == plain.path(other).read_bytes()
        columns = index.columns["classify"], plain.columns["classify"]
        assert columns[0].get(row, (16, 16)).label == columns[1].get(other, (16, 16)).label
        assert file_size(index.path(row)) == plain.path(other).stat().st_size
    assert image_size(index.path(3)) == (16, 16)
    counts = Counter(served.ranges())
    assert set(counts.values()) == {1} and len(counts) < 30, "each block is read once"
    before = len(served.requests)
    read_image(index.path(7))
    assert len(served.requests) == before


def test_lists_and_ranges_of_urls(served: Served, tmp_path: Path) -> None:
    archives = sorted(file.name for file in (tmp_path / "tar").glob("train*.tar"))
    ranged = f"{served.url}/train-{{000000..{len(archives) - 1:06}}}.tar"
    (tmp_path / "tar" / "list.txt").write_text("# all\n" + "\n".join(archives))
    (tmp_path / "here.txt").write_text(f"# all\n{ranged}")
    for path in (ranged, f"{served.url}/list.txt", tmp_path / "here.txt"):
        index = open_data(path, "classify", "train")
        assert len(index) == 36, "a tenth becomes val, since no archive is named so"
        assert sorted(index.labels["classify"].classes) == ["cat", "dog"]
        assert read_image(index.path(35)).shape == (16, 16, 3)


def test_check_finds_nothing_wrong(served: Served) -> None:
    report = check_data(served.url, "classify")
    assert not [finding for finding in report.findings if finding.severity == "error"]
    assert {name: len(part.findings) for name, part in report.splits.items()} == {"train": 0, "val": 0}


@pytest.mark.parametrize("failure", [503, 429, 0])
def test_faults_of_the_network_are_retried(served: Served, failure: int) -> None:
    index = open_data(served.url, "classify", "train")
    served.failures[:] = [failure, failure]
    assert read_image(index.path(0)).shape == (16, 16, 3)
    assert not served.failures


def test_errors_name_the_address_and_a_cure(served: Served, tmp_path: Path) -> None:
    index = open_data(served.url, "classify", "train")
    served.failures[:] = [500] * 3
    with pytest.raises(
        DataError, match=r"http://.*train-000000.tar: cannot be read after 3 attempts \(the server answers 500"
    ):
        read_image(index.path(0))
    served.failures[:] = [403]
    with pytest.raises(DataError, match="access is denied"):
        read_image(index.path(0))
    served.failures[:] = [-1]
    with pytest.raises(DataError, match="range requests"):
        read_image(index.path(0))
    with pytest.raises(DataError, match=r"no dataset.json at this address.*convert --to tar"):
        open_data(f"{served.url}/elsewhere", "classify", "train")
    (tmp_path / "tar" / "train-000000.index.json").unlink()
    with pytest.raises(DataError, match="no index file beside it"):
        open_data(f"{served.url}/train-000000.tar", "classify", "train")
    with pytest.raises(DataError, match="only the format 'tar_shards'"):
        open_data(served.url, "classify", "train", format="image_folder")


def test_a_changed_archive_is_an_error(served: Served, tmp_path: Path) -> None:
    index = open_data(served.url, "classify", "train")
    archive = tmp_path / "tar" / "train-000000.tar"
    archive.write_bytes(archive.read_bytes()[:600])
    with pytest.raises(DataError, match="its index file is of another version"):
        read_image(index.path(0))


def test_workers_read_the_same_and_each_block_once(served: Served) -> None:
    index = open_data(served.url, "classify", "train")
    helped = [batch.images for batch in loader(index, workers=2)]
    counts = Counter(served.ranges())
    assert counts and set(counts.values()) == {1}
    alone = [batch.images for batch in loader(index)]
    assert len(alone) == 10 and all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))


def test_resuming_in_the_middle_of_an_epoch_is_exact(served: Served) -> None:
    index = open_data(served.url, "classify", "train")
    first, other = loader(index), loader(index)
    batches = iter(first)
    for _ in range(4):
        next(batches)
    other.load_state_dict(first.state_dict())
    rest, resumed = [batch.images for batch in batches], [batch.images for batch in other]
    assert len(rest) == 6 and all(torch.equal(one, two) for one, two in zip(rest, resumed, strict=True))


def test_no_cache_folder_is_no_error(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "file"))
    index = open_data(served.url, "classify", "train")
    assert all(read_image(index.path(row)).shape == (16, 16, 3) for row in range(40))
    assert set(Counter(served.ranges()).values()) == {1}, "the last blocks stay in memory"


def test_every_image_once_in_few_blocks_at_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vertebra.data.block_order.WINDOW", 2)
    index = open_data(served.url, "classify", "train")
    blocks = remote_blocks(index.root, index.images)
    assert blocks is not None and len(np.unique(blocks)) > 6
    data = loader(index).dataset
    parts = [
        [key.row for batch in MixSampler(data, 4, seed=7, rank=rank, world_size=2) for key in batch] for rank in (0, 1)
    ]
    assert sorted(parts[0] + parts[1]) == list(range(40))
    for rows in parts:
        assert rows != sorted(rows)
        spans = [np.ptp(np.flatnonzero(blocks[rows] == block)) for block in np.unique(blocks[rows])]
        assert max(spans) < 20, "a block is done with before long"
    shared = set(blocks[parts[0]].tolist()) & set(blocks[parts[1]].tolist())
    assert len(shared) <= 2, "processes have blocks of their own"
    sampler = MixSampler(data, 4, seed=7)
    first = [key.row for batch in sampler for key in batch]
    sampler.set_epoch(1)
    assert first != [key.row for batch in sampler for key in batch]


def test_order_by_blocks() -> None:
    rows = np.random.default_rng(0).permutation(1000)
    counts = [7, 9] * 62 + [8]
    ordered = by_blocks(rows, rows // 10, counts, 3, np.random.default_rng(1))
    assert sorted(ordered.tolist()) == list(range(1000))
    process = np.repeat(np.arange(125) % 3, counts)
    for number in range(3):
        blocks = ordered[process == number] // 10
        first = {block: np.flatnonzero(blocks == block) for block in np.unique(blocks)}
        assert all(np.ptp(positions) <= 10 * WINDOW for positions in first.values())


def test_other_file_systems_through_fsspec(class_folders: Make, tmp_path: Path) -> None:
    convert_data(class_folders(4), "tar", tmp_path / "tar")
    system = fsspec.filesystem("memory")
    for file in (tmp_path / "tar").iterdir():
        system.pipe_file(f"/bucket/{file.name}", file.read_bytes())
    index = open_data("memory://bucket", "classify", "train")
    assert len(index) == 4 and read_image(index.path(2)).shape == (16, 16, 3)
    with pytest.raises(DataError, match=r"memory://nothing/dataset.json|no dataset.json"):
        open_data("memory://nothing", "classify", "train")
    with pytest.raises(DataError, match="no known kind of address"):
        open_data("nonsense://bucket", "classify", "train")


def test_urls() -> None:
    assert remote.url_of(Path("https://host/a.tar")) == "https://host/a.tar"
    assert remote.url_of("s3:/bucket/a") == "s3://bucket/a" and remote.is_remote(Path("s3://bucket"))
    assert not remote.is_remote("C:/data") and not remote.is_remote("data/a.tar") and not remote.is_remote("hf:a/b")
    assert remote.is_address("hf:a/b") and not remote.is_address("data")
