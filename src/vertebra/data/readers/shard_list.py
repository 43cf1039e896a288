"""Which tar archives a data set of shards has, and of which splits: in a folder, a list, or at a URL."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.annotations.table import SPLITS
from vertebra.data.readers.class_files import class_names
from vertebra.data.readers.files import files_of, folders_in
from vertebra.data.splits import split_of
from vertebra.errors import DataError, first_line
from vertebra.shards.index_file import index_name
from vertebra.shards.remote import MissingRemoteFile, is_remote, read_whole, url_of
from vertebra.shards.tar_files import IMAGES, is_safe

DATASET = "dataset.json"
FORMAT = "vertebra-shards"
LISTS = (".txt", ".list")
MOST_SHARDS = 1_000_000
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_FIRST = 64  # members that show what an archive holds


@dataclass(frozen=True)
class ShardList:
    """The archives of a data set.

    Attributes:
        root: folder of the archives; a URL with a single slash for those at a URL.
        archives: their paths below the root, with forward slashes, in order.
        splits: of each, "" for none.
        names: the classes that a file beside the archives names; None if there is none.
        dataset: the content of ``dataset.json``; empty if there is none.
        where: the folder, file or URL, for messages.
    """

    root: Path
    archives: Sequence[str]
    splits: Sequence[str]
    names: Sequence[str] | None
    where: Path
    dataset: Mapping[str, Any] = field(default_factory=dict)

    def path(self, number: int) -> str:
        """The path of an archive, or its URL with a single slash."""
        return (self.root / self.archives[number]).as_posix()


def is_shard_path(path: Path) -> bool:
    """Whether a path that is no folder names shards: a URL, a tar file with an index file beside it, or a list of tar files."""
    if is_remote(path):
        return True
    if path.suffix.lower() == ".tar":
        return path.is_file() and Path(index_name(str(path))).is_file()
    return _is_list(path) or (path.name == DATASET and path.is_file() and bool(_dataset(path)))


def has_shards(path: Path) -> bool:
    """Whether a path names shards, or is a folder with some."""
    if is_shard_path(path):
        return True
    if not path.is_dir():
        return False
    if (path / DATASET).is_file() and _dataset(path / DATASET):
        return True
    archives = _archives_in(path)
    return bool(archives) and _seems_shard(path / archives[0])


def shard_list(path: Path) -> ShardList:
    """The archives of a data set.

    Args:
        path: a folder with tar files or ``dataset.json``, that file, a tar file, a list of tar files with one on each line,
            or the URL of any of them; ``{000000..000011}`` in a URL means all numbers of the range.

    Raises:
        DataError: there is none, or the list is damaged.
    """
    if is_remote(path):
        return _remote(path)
    if path.is_dir() or path.name == DATASET:
        folder = path if path.is_dir() else path.parent
        dataset = _dataset(folder / DATASET) if (folder / DATASET).is_file() else {}
        if dataset:
            return _of_dataset(folder, dataset, path)
        archives = _archives_in(folder)
        return _of_names(folder, archives, class_names(folder), path)
    if path.suffix.lower() == ".tar":
        return _of_names(path.parent, [path.name], class_names(path.parent), path)
    lines = _lines(path.read_bytes(), path)
    remote = [is_remote(line) for line in lines]
    if any(remote) and not all(remote):
        raise DataError(f"{path}: it has tar files on disk and URLs; write a list for each")
    if any(remote):
        return _of_urls([url for line in lines for url in _expanded(line)], path)
    return _of_names(path.parent, lines, class_names(path.parent), path)


def _remote(path: Path) -> ShardList:
    text = path.as_posix()
    if text.endswith(".tar"):
        return _of_urls(_expanded(text), path)
    if text.endswith(LISTS):
        lines = _lines(read_whole(url_of(text)), path)
        parent = text.rpartition("/")[0]
        urls = [line if is_remote(line) else f"{parent}/{line}" for line in lines]
        return _of_urls([url for line in urls for url in _expanded(line)], path)
    folder = Path(text.removesuffix(f"/{DATASET}"))
    try:
        content = read_whole(url_of(f"{folder.as_posix()}/{DATASET}"))
    except MissingRemoteFile:
        raise DataError(
            f"{url_of(path)}: there is no {DATASET} at this address, as 'vertebra data convert --to tar' writes it; or name the "
            "archives: .../train-{000000..000011}.tar, or a list of them (.txt)"
        ) from None
    dataset = _checked(content)
    if not dataset:
        raise DataError(f"{url_of(path)}: its {DATASET} is damaged, or not of shards")
    return _of_dataset(folder, dataset, path)


def _of_urls(urls: Sequence[str], where: Path) -> ShardList:
    """Archives at URLs."""
    paths = [Path(url).as_posix() for url in urls]
    folders = {path.rpartition("/")[0] for path in paths}
    root = min(folders, key=len)
    while any(folder != root and not folder.startswith(f"{root}/") for folder in folders):
        root = root.rpartition("/")[0]
    if not root.rstrip("/").partition(":")[2].strip("/"):
        root = root.partition(":")[0] + ":"
    if any(not path.startswith(f"{root}/") for path in paths):
        raise DataError(f"{where}: its archives are at addresses of several kinds; write a list for each")
    names = [path[len(root) + 1 :] for path in paths]
    classes = None
    with suppress(MissingRemoteFile):
        text = read_whole(url_of(f"{root}/classes.txt")).decode("utf-8-sig", "replace")
        classes = [line.strip() for line in text.splitlines() if line.strip()]
    return _of_names(Path(root), names, classes, where)


def _of_names(root: Path, archives: Sequence[str], names: Sequence[str] | None, where: Path) -> ShardList:
    if not archives:
        raise DataError(f"{where}: there is no tar file in it")
    return ShardList(root, archives, [_split_in(name) for name in archives], names, where)


def _of_dataset(root: Path, dataset: Mapping[str, Any], where: Path) -> ShardList:
    shards = dataset["shards"]
    archives, splits = [shard["file"] for shard in shards], [shard.get("split") or "" for shard in shards]
    if not archives or not all(isinstance(name, str) and is_safe(name) and name.endswith(".tar") for name in archives):
        raise DataError(f"{where}: {DATASET} lists no tar files beside it")
    if not all(isinstance(split, str) and split in (*SPLITS, "") for split in splits):
        raise DataError(f"{where}: {DATASET} has splits other than {', '.join(SPLITS)}")
    return ShardList(root, archives, splits, None, where, dataset)


def _split_in(archive: str) -> str:
    """The split that an archive or its folder is named as: ``train-000000.tar``."""
    folder, _, name = archive.rpartition("/")
    stem = name.removesuffix(".tar")
    words = [re.split(r"[-_.]", stem)[0], stem.rpartition("-")[0], folder.rpartition("/")[2]]
    return next((split for word in words if word and (split := split_of(word))), "")


def _archives_in(folder: Path) -> list[str]:
    """The tar files in a folder, or else in its folders of splits."""
    archives = [file.name for file in files_of(folder, ".tar")]
    if archives:
        return archives
    inner = [each for each in folders_in(folder) if split_of(each.name)]
    return [f"{each.name}/{file.name}" for each in inner for file in files_of(each, ".tar")]


def _seems_shard(archive: Path) -> bool:
    """Whether the first members of an archive are images with annotations of the same names."""
    if Path(index_name(str(archive))).is_file():
        return True
    return any(kinds & IMAGES and kinds & {"json", "cls", "txt"} for kinds in _first_members(archive)[0])


def _first_members(archive: Path) -> tuple[list[set[str]], str]:
    """The suffixes of the first samples of an archive, and why no more can be read; "" if more can."""
    suffixes: dict[str, set[str]] = {}
    problem = ""
    try:
        with tarfile.open(archive, "r:") as opened:
            for _, entry in zip(range(_FIRST), opened, strict=False):
                stem, _, suffix = entry.name.rpartition("/")[2].partition(".")
                suffixes.setdefault(f"{entry.name.rpartition('/')[0]}/{stem}", set()).add(suffix.lower())
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        problem = first_line(error)
    return list(suffixes.values()), problem


def why_no_shards(path: Path) -> str:
    """Why the tar files in a folder are no shards; "" if there are none, or if they are."""
    archives = _archives_in(path) if path.is_dir() else []
    if not archives or has_shards(path):
        return ""
    _, problem = _first_members(path / archives[0])
    if problem:
        return f"{path / archives[0]} is damaged or cut off, or no tar archive without compression ({problem}); copy it again"
    return (
        f"{path / archives[0]} has no image with annotations of the same name (1.jpg with 1.json, 1.cls or 1.txt); if it is an "
        "archive of another format, name the archive itself"
    )


def _is_list(path: Path) -> bool:
    if path.suffix.lower() not in LISTS or not path.is_file():
        return False
    with path.open("rb") as opened:
        lines = [line.strip() for line in opened.read(4096).decode("utf-8-sig", "replace").splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "").endswith(".tar")


def _lines(content: bytes, where: Path) -> list[str]:
    lines = [line.strip() for line in content.decode("utf-8-sig", "replace").splitlines()]
    named = [line for line in lines if line and not line.startswith("#")]
    wrong = next((line for line in named if not line.endswith(".tar")), None)
    if wrong is not None:
        raise DataError(f"{where}: '{wrong[:60]}' is no tar file; write one on each line")
    outside = next((line for line in named if not is_remote(line) and not is_safe(line)), None)
    if outside is not None:
        raise DataError(f"{where}: '{outside[:60]}' is not in the folder of the list; write relative paths")
    return named


def _expanded(url: str) -> list[str]:
    """The URLs that a URL with ranges of numbers means."""
    match = _RANGE.search(url)
    if match is None:
        return [url]
    low, high, digits = int(match.group(1)), int(match.group(2)), len(match.group(1))
    if not low <= high or high - low >= MOST_SHARDS:
        raise DataError(f"{url}: {match.group(0)} is no range of numbers; write {{000000..000011}}")
    head, tail = url[: match.start()], url[match.end() :]
    return [whole for number in range(low, high + 1) for whole in _expanded(f"{head}{number:0{digits}}{tail}")]


def _dataset(file: Path) -> Mapping[str, Any]:
    """The content of ``dataset.json``; empty if it is of something else."""
    return _checked(file.read_bytes())


def _checked(content: bytes) -> Mapping[str, Any]:
    try:
        entry = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(entry, Mapping) or entry.get("format") != FORMAT:
        return {}
    shards = entry.get("shards")
    if not isinstance(shards, list) or not all(isinstance(each, Mapping) and "file" in each for each in shards):
        return {}
    return entry
