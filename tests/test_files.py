"""Files that are written whole or not at all, and what is said where the operating system refuses."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vertebra.errors import RunError
from vertebra.files import (
    FileLock,
    os_error_sentence,
    os_errors_as_run_errors,
    replacing,
    save_under_free_name,
    take_name,
)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file can be larger than 1000 bytes: the system refuses as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "out/a.jpg: no space is left on the disk; free some, or choose a place on another disk"),
        (errno.EROFS, "out/a.jpg: the file system is read-only; choose a place that can be written"),
        (errno.EACCES, "out/a.jpg: permission denied; change the permissions, or choose another place"),
        (errno.EISDIR, "out/a.jpg: is a folder, and a file is needed here; choose another name"),
        (errno.ENOENT, "out/a.jpg: no such file or folder"),
        (errno.ELOOP, "out/a.jpg: Too many levels of symbolic links"),
    ],
)
def test_an_error_is_one_sentence(number: int, said: str) -> None:
    assert os_error_sentence(OSError(number, os.strerror(number), "out/a.jpg")) == said
    assert os_error_sentence(OSError(number, os.strerror(number)), Path("out/a.jpg")) == said
    assert os_error_sentence(OSError(number, os.strerror(number), "out/.partial-12ab.jpg"), "out/a.jpg") == said
    assert os_error_sentence(OSError(number, os.strerror(number), b"out/a.jpg")) == said


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    said = f"{tmp_path / 'taken'} is a file, and a folder is needed there; choose another place"
    for folder in (tmp_path / "taken", tmp_path / "taken" / "x" / "y"):
        with pytest.raises(RunError, match=f"^{said}$"), os_errors_as_run_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    with (
        pytest.raises(RunError, match="the name is too long for the file system") as raised,
        os_errors_as_run_errors(tmp_path),
    ):
        (tmp_path / ("n" * 300)).mkdir()
    assert len(str(raised.value)) < 250, "the name is shortened"


def test_what_is_no_fault_of_a_place_is_raised_as_it_is() -> None:
    for error in (BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError("cannot write mode F as PNG")):
        with pytest.raises(type(error)) as raised, os_errors_as_run_errors("a"):
            raise error
        assert raised.value is error


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    with pytest.raises(RunError, match=r"model\.bin: the file would be larger"), replacing(path) as part:
        part.write_bytes(b"x" * 2000)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with replacing(path) as part:
        part.write_bytes(b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_free_names_are_free_for_many_writers(tmp_path: Path) -> None:
    written: list[Path] = []

    def work(number: int) -> None:
        for _ in range(10):
            written.append(save_under_free_name(tmp_path / "a" / "b", "x", ".jpg", str(number).encode()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list((tmp_path / "a" / "b").iterdir())
    assert len(found) == len(set(written)) == 40 and (tmp_path / "a" / "b" / "x-40.jpg") in found
    assert sorted(path.read_bytes() for path in found) == sorted([b"0", b"1", b"2", b"3"] * 10)


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert [save_under_free_name(tmp_path, "x", ".jpg", b"1").name for _ in range(2)] == ["x.jpg", "x-2.jpg"]


def test_a_lock_whose_file_was_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, who had the lock may remove its file: the lock must be of the file that is there."""
    import fcntl

    path, calls, flock = tmp_path / "a.job", [0], fcntl.flock

    def remove_once(*given: int) -> None:
        calls[0] += 1
        if calls[0] == 1:
            path.unlink()
        flock(*given)

    monkeypatch.setattr(fcntl, "flock", remove_once)
    lock = FileLock(path, tmp_path / "a")
    assert path.exists() and calls[0] == 2
    monkeypatch.undo()
    with pytest.raises(RunError, match="is being written by another process"):
        FileLock(path, tmp_path / "a")
    lock.close()
    FileLock(path, tmp_path / "a").close()


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken_stays_as_it_is(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    part, target = tmp_path / "part", tmp_path / "name"
    part.write_text("first")
    assert take_name(part, target) and target.read_text() == "first" and not part.exists()
    part.write_text("second")
    assert not take_name(part, target) and target.read_text() == "first" and part.read_text() == "second"
