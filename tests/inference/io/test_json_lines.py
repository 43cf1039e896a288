"""Results are written as they come, and a job goes on where it stopped, but no other job does."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vertebra.cli.printing import print_json
from vertebra.errors import DataError, RunError
from vertebra.inference import jobs
from vertebra.inference.io.json_lines import JsonLines
from vertebra.inference.jobs import describe_job
from vertebra.inference.results import Result
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction

JOB: dict[str, Any] = {"model name": "runs/a", "model": "0123456789ab", "threshold": 0.3, "tile": None}


def images(path: Path) -> list[str]:
    return [json.loads(line)["image"] for line in path.read_text().splitlines()]


def test_a_killed_job_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "found.jsonl"
    with JsonLines(path, JOB) as lines:
        lines.write({"image": "a.jpg", "boxes": []})
        lines.write({"image": "ü.jpg", "boxes": [1]})
        assert [json.loads(line)["image"] for line in path.read_text().splitlines()] == ["a.jpg", "ü.jpg"]
    with path.open("a") as file:
        file.write('{"image": "c.j')
    with JsonLines(path, JOB) as lines:
        assert lines.has("a.jpg") and lines.has("ü.jpg") and not lines.has("c.jpg") and len(lines) == 2
        lines.write({"image": "c.jpg"})
    assert [json.loads(line)["image"] for line in path.read_text().splitlines()] == ["a.jpg", "ü.jpg", "c.jpg"]


def test_frames_are_counted_by_their_video(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    with JsonLines(path, JOB) as lines:
        for number in (0, 1, 3):
            lines.write({"image": "clip.mp4", "frame": number, "time": None})
        lines.write({"image": "a.jpg"})
    with JsonLines(path, JOB) as lines:
        assert lines.image_count == 1 and lines.frames_of("clip.mp4") == {0, 1, 3} and len(lines) == 4
        assert lines.has("clip.mp4", 3) and not lines.has("clip.mp4", 2) and not lines.has("clip.mp4")
        assert lines.has("a.jpg") and not lines.has("b.mp4", 0)
        assert [row["image"] for row in lines.rows()] == ["clip.mp4"] * 3 + ["a.jpg"]


def test_a_file_of_another_kind_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(DataError, match=r"notes\.txt: line 1 is not a prediction"):
        JsonLines(path, JOB)
    assert path.read_text() == "dear diary\n" and list(tmp_path.iterdir()) == [path]
    for line in ("[1]", '{"image": "a.mp4", "frame": "first"}', '"image"'):
        path.write_text(line + "\n")
        with pytest.raises(DataError, match="line 1 is not a prediction"):
            JsonLines(path, JOB)


def test_an_unfinished_line_of_somebody_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary")
    with pytest.raises(DataError, match=r"notes\.txt: line 1 is not a prediction"):
        JsonLines(path, JOB)
    assert path.read_text() == "dear diary"
    path.write_text('{"im')  # cut off in writing
    with JsonLines(path, JOB) as lines:
        assert len(lines) == 0
    assert path.read_text() == ""


def test_frames_of_a_camera_are_counted_not_remembered(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "found.jsonl", JOB) as lines:
        for number in range(3):
            lines.write({"image": "camera:0", "frame": number, "time": 0.1})
        assert lines.live == len(lines) == 3 and not lines.frames_of("camera:0")


def write(path: Path, *names: str, job: dict[str, Any] = JOB) -> list[str]:
    with JsonLines(path, job) as lines:
        for name in names:
            if not lines.has(name):
                lines.write({"image": name, "boxes": []})
    return images(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model": "ba9876543210", "model name": "b"},
            r"model is runs/a \(0123456789ab\) there and b \(ba9876543210\) now",
        ),
        ({"threshold": 0.5}, "threshold is 0.3 there and 0.5 now"),
        ({"tile": 640, "overlap": 0.2}, "tile is null there and 640 now; overlap is null there and 0.2 now"),
    ],
)
def test_another_job_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "found.jsonl"
    write(path, "a.jpg")
    before = path.read_bytes(), path.with_name("found.jsonl.job").read_bytes()
    with pytest.raises(RunError, match=rf"found\.jsonl was made with other options, so it is not continued: .*{said}"):
        JsonLines(path, {**JOB, **change})
    assert (path.read_bytes(), path.with_name("found.jsonl.job").read_bytes()) == before
    assert write(path, "b.jpg", job={**JOB, "model name": "another name"}) == ["a.jpg", "b.jpg"]


def test_what_nothing_is_known_of_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    path.write_text('{"image": "a.jpg"}\n')
    with pytest.raises(
        RunError, match=r"has predictions of an unknown model and options \(found\.jsonl\.job is missing\)"
    ):
        JsonLines(path, JOB)
    assert images(path) == ["a.jpg"] and list(tmp_path.iterdir()) == [path]
    path.with_name("found.jsonl.job").write_text("[]")
    with pytest.raises(DataError, match=r"found\.jsonl\.job: damaged"):
        JsonLines(path, JOB)
    path.unlink()
    assert write(path, "b.jpg") == ["b.jpg"], "what is beside a file that is gone counts for nothing"


def test_an_image_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = tmp_path / "photos" / "mon", tmp_path / "elsewhere"
    folder.mkdir(parents=True)
    other.mkdir()
    path = tmp_path / "found.jsonl"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("photos")
    assert write(path, "photos/mon/a.jpg") == ["photos/mon/a.jpg"]
    same = ["photos/mon/../mon/a.jpg", "./photos/mon/a.jpg", str(folder / "a.jpg"), "link/mon/a.jpg"]
    assert write(path, *same) == ["photos/mon/a.jpg"]
    (folder / "b.jpg").symlink_to("a.jpg")
    assert write(path, "photos/mon/b.jpg")[1:] == ["photos/mon/b.jpg"], "two names in a folder are two images"
    monkeypatch.chdir(other)
    assert write(path, "../photos/mon/a.jpg", "photos/mon/a.jpg")[2:] == ["elsewhere/photos/mon/a.jpg"]
    assert write(path, str(folder / "c.jpg"))[3:] == [str(folder / "c.jpg")]


def test_a_job_that_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    monkeypatch.chdir(old)
    write(old / "found.jsonl", "a.jpg")
    old.rename(new)
    monkeypatch.chdir(new)
    with JsonLines(new / "found.jsonl", JOB) as lines:
        assert lines.has("a.jpg")
        (note,) = lines.job.notes
    assert note.endswith(f"was started in {old}, which does not exist here; relative names are resolved from {new}")


def test_unreadable_images_are_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    with JsonLines(path, JOB) as lines:
        for row in (
            {"image": "a.jpg"},
            {"image": "bad.jpg", "error": "bad.jpg: damaged"},
            {"image": "c.jpg", "error": {}},
        ):
            lines.write(row)
        assert len(lines) == 2 and lines.failed == 1
    with path.open("a") as file:
        file.write('{"image": "d')
    with JsonLines(path, JOB) as lines:
        assert not lines.has("bad.jpg") and lines.has("c.jpg") and lines.failed == 0
        lines.write({"image": "bad.jpg"})
    assert images(path) == ["a.jpg", "c.jpg", "bad.jpg"]


def _write_often(path: Path, start: Any, told: Any) -> None:
    start.wait()
    try:
        with JsonLines(path, JOB) as lines:
            for number in range(300):
                lines.write({"image": f"{number}.jpg"})
            told.put("done")
            start.wait()
    except RunError as error:
        told.put(str(error))
        start.wait()


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    path, context = tmp_path / "found.jsonl", multiprocessing.get_context("fork")
    start, told = context.Barrier(2), context.Queue()
    writers = [context.Process(target=_write_often, args=(path, start, told)) for _ in range(2)]
    for writer in writers:
        writer.start()
    answers = sorted(told.get(timeout=30) for _ in writers)
    for writer in writers:
        writer.join(30)
    assert answers[0] == f"{path} is being written by another process; wait until it ends, or choose another name" or (
        answers == ["done", "done"]  # one after the other would be right too, but the barrier keeps the first one open
    )
    assert answers[1] == "done" and images(path) == [f"{number}.jpg" for number in range(300)]


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    pid = os.fork()
    if pid == 0:
        JsonLines(path, JOB).write({"image": "a.jpg"})
        os._exit(1)  # as by kill -9: nothing is closed
    os.waitpid(pid, 0)
    assert write(path, "b.jpg") == ["a.jpg", "b.jpg"]
    with JsonLines(path, JOB), pytest.raises(RunError, match="is being written by another process"):
        JsonLines(path, JOB)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def refuse(*given: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with JsonLines(tmp_path / "found.jsonl", JOB) as lines:
        lines.write({"image": "a.jpg"})
        assert "this file system has no locks" in lines.job.notes[0]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file can be larger than 1000 bytes: the system refuses as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "found.jsonl"
    with JsonLines(path, JOB) as lines:
        lines.write({"image": "a.jpg"})
        with pytest.raises(RunError, match=r"found\.jsonl: the file would be larger than the system allows"):
            lines.write({"image": "b.jpg", "boxes": "x" * 2000})
        lines.write({"image": "c.jpg"})
    assert images(path) == ["a.jpg", "c.jpg"]


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a regular file"):
        JsonLines(tmp_path, JOB)
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match="taken is a file, and a folder is needed there"):
        JsonLines(tmp_path / "taken" / "found.jsonl", JOB)


def test_what_a_job_is_made_of(tmp_path: Path) -> None:
    model, weights = tmp_path / "model.xml", tmp_path / "model.bin"
    model.write_bytes(b"graph")
    weights.write_bytes(b"1")
    options = {"threshold": 0.3, "tile": None, "overlap": 0.2, "flip": False, "scales": (1.0,), "batch_size": 8}
    first = describe_job("m", [model, weights], "fp32", options)
    assert describe_job("m", [model, weights], "fp32", {**options, "batch_size": 1, "overlap": 0.5}) == first
    assert json.loads(json.dumps(first)) == first
    for change in ({"threshold": 0.2}, {"tile": 64}, {"flip": True}, {"scales": (1.0, 2.0)}):
        assert describe_job("m", [model, weights], "fp32", {**options, **change}) != first
    assert describe_job("m", [model, weights], "int8 by onnx", options) != first
    weights.write_bytes(b"2")
    assert describe_job("m", [model, weights], "fp32", options)["model"] != first["model"]
    assert len(first["model"]) == 12 and jobs.content_hash([model]) == jobs.content_hash([model])


def test_numbers_of_a_result_that_are_not_finite_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = np.array([[0, 0, np.inf, 1]], np.float32)
    found = DetectPrediction(boxes, np.array([np.nan], np.float32), np.zeros(1, np.int64), DetectLabels(("a",)))
    row = Result({"boxes": found}, Path("a.jpg"), (4, 4)).to_dict()
    path = tmp_path / "found.jsonl"
    with JsonLines(path, JOB) as lines:
        lines.write(row)
        assert lines.not_finite == 2
    print_json([row])
    printed = capsys.readouterr()
    for text in (path.read_text(), printed.out[1:-2]):
        (seen,) = json.loads(text)["boxes"]["objects"]
        assert seen["score"] is None and seen["box"] == [0.0, 0.0, None, 1.0]
    assert printed.err.startswith("2 numbers are not finite and printed as null: 0/boxes/objects/0/")
