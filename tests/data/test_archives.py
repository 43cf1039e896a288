"""Data sets in zip and tar files."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vertebra.data import archives
from vertebra.data.archives import is_archive, unpacked
from vertebra.data.open import detect_format, open_data
from vertebra.errors import DataError

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("VERTEBRA_CACHE", str(folder))
    return folder


def pack(source: Path, file: Path, top: str = "") -> Path:
    names = [path for path in sorted(source.rglob("*")) if path.is_file()]
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            for path in names:
                archive.write(path, f"{top}{path.relative_to(source).as_posix()}")
        return file
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(file.suffix, "w")
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        for path in names:
            archive.add(path, f"{top}{path.relative_to(source).as_posix()}")
    return file


def zipped(file: Path, members: dict[str, bytes], kind: int = 0) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = kind << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return file


@pytest.mark.parametrize(
    "name", ["set.zip", "set.tar", "set.tar.gz", "set.tgz", "set.tar.xz", "set.tar.bz2", "SET.ZIP"]
)
@pytest.mark.parametrize("top", ["", "my set/", "a/b/"])
def test_a_data_set_in_an_archive(tmp_path: Path, draw_image: Make, cache: Path, name: str, top: str) -> None:
    for label in ("cat", "dog"):
        for number in range(10):
            draw_image(tmp_path / "source" / label / f"{number}.png")
    file = pack(tmp_path / "source", tmp_path / name.lower(), top)
    file = file.rename(tmp_path / name)
    assert is_archive(file) and detect_format(file) == "image_folder"
    index = open_data(file, "classify", "train")
    assert len(index) == 16 and index.labels["classify"].classes == ("cat", "dog")
    assert index.path(0).is_relative_to(cache / "archives") and index.path(0).is_file()
    assert str(index.notes[0]).startswith("1 archive was unpacked into")
    assert not [path for path in (cache / "archives").iterdir() if path.name.startswith(".partial")]


def test_an_archive_is_unpacked_once_and_a_changed_one_again(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", {"a.txt": b"1", "__MACOSX/._a.txt": b"x", ".DS_Store": b"x", "b/._c": b"x"})
    folder = unpacked(file)
    assert [path.name for path in folder.rglob("*")] == ["a.txt"]
    (folder / "a.txt").write_text("kept")
    assert unpacked(file) == folder and (folder / "a.txt").read_text() == "kept"
    os.utime(zipped(file, {"a.txt": b"2"}), (1, 1))
    assert unpacked(file) != folder and (unpacked(file) / "a.txt").read_text() == "2"


@pytest.mark.parametrize(
    "name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt", "C:/out.txt"]
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, cache: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"set\.zip: '.*out\.txt' leads out of the folder"):
        unpacked(zipped(tmp_path / "set.zip", {"in.txt": b"1", name: b"x"}))
    tar = tmp_path / "set.tar"
    with tarfile.open(tar, "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DataError, match=r"set\.tar: '.*out\.txt' leads out of the folder"):
        unpacked(tar)
    assert not list((cache / "archives").iterdir()) and not list(tmp_path.rglob("out.txt"))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="link is a link or a device"):
        unpacked(zipped(tmp_path / "set.zip", {"link": b"/etc/passwd"}, stat.S_IFLNK | 0o777))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / "set.tar", "w") as archive:
            archive.addfile(info)
        archives._key.cache_clear()
        with pytest.raises(DataError, match="link is a link or a device"):
            unpacked(tmp_path / "set.tar")


def test_bombs_are_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SMALL", 1 << 16)
    zeros = {f"{number}.bin": bytes(1 << 16) for number in range(4)}
    with pytest.raises(DataError, match=r"which may be a decompression bomb; at most 100 times its size"):
        unpacked(zipped(tmp_path / "set.zip", zeros))
    for name, content in zeros.items():
        (tmp_path / "zeros").mkdir(exist_ok=True)
        (tmp_path / "zeros" / name).write_bytes(content)
    with pytest.raises(DataError, match="which may be a decompression bomb"):
        unpacked(pack(tmp_path / "zeros", tmp_path / "set.tar.gz"))
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(DataError, match="4 files in an archive"):
        unpacked(zipped(tmp_path / "many.zip", {str(number): b"" for number in range(5)}))
    assert not list((cache / "archives").iterdir())


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 60)
    with pytest.raises(DataError, match="its files need more than the .* MB that are free"):
        unpacked(zipped(tmp_path / "set.zip", {"a": b"content"}))


def test_damaged_and_encrypted_archives(tmp_path: Path, draw_image: Make) -> None:
    for number in range(20):
        draw_image(tmp_path / "source" / f"{number}.png")
    for name in ("set.zip", "set.tar", "set.tar.gz", "set.tar.xz", "set.tar.bz2"):
        content = pack(tmp_path / "source", tmp_path / name).read_bytes()
        for damaged in (content[: len(content) // 2], b"nothing", b"", content[:300] + bytes(200) + content[500:]):
            (tmp_path / name).write_bytes(damaged)
            archives._key.cache_clear()
            try:
                unpacked(tmp_path / name)
            except DataError as error:
                assert name in str(error)
            else:
                assert name == "set.tar"  # which has no checksum of contents
    file = zipped(tmp_path / "locked.zip", {"a": b"1"})
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"locked\.zip: encrypted; unpack it with its password"):
        unpacked(file)


def test_a_file_without_a_name_is_damage(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", {"a": b"1"})
    content = bytearray(file.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 28 : entry + 32] = bytes([0, 0, 1, 0])  # the name is taken for one more byte of other data
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.zip: damaged or cut off, no archive that can be read"):
        unpacked(file)


def test_a_name_of_several_lines_is_one_line_in_the_message(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("two\nlines")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(info, "target")
    with pytest.raises(DataError, match=r"set\.zip: two lines is a link or a device"):
        unpacked(tmp_path / "set.zip")


def test_names_in_utf_8_that_are_not_marked(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", {"caf\u00e9.txt": b"1"})
    content = bytearray(file.read_bytes())
    for start, offset in ((content.index(b"PK\x03\x04"), 7), (content.index(b"PK\x01\x02"), 9)):
        content[start + offset] &= ~0x08
    file.write_bytes(content)
    assert [path.name for path in unpacked(file).iterdir()] == ["caf\u00e9.txt"]
