"""``vertebra predict`` on videos and cameras, and COCO results, called as a user calls it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from tests.inference.clips import FakeCapture, write_clip
from vertebra.cli.main import main
from vertebra.inference.io import streams
from vertebra.inference.io.coco_results import CocoResults
from vertebra.inference.io.video import Video


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], finished: Path) -> Command:
    """``vertebra predict RUN ...``."""

    def call(*arguments: Any) -> Ended:
        monkeypatch.setattr("sys.argv", ["vertebra", "predict", str(finished), *map(str, arguments), "--device", "cpu"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return call


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", 12)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_video_and_an_image(predict: Command, clip: Path, tmp_path: Path) -> None:
    lines, out, image = tmp_path / "found.jsonl", tmp_path / "out", tmp_path / "a.png"
    Image.new("RGB", (64, 48)).save(image)
    ended = predict(clip, image, "--jsonl", lines, "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert [row.get("frame") for row in rows(lines)] == [*range(12), None]
    assert rows(lines) == json.loads(ended.out)
    assert "1 images and 12 frames in" in ended.err and "3 pictures in" in ended.err
    assert sorted(path.name for path in out.iterdir()) == [
        "a_animal.jpg", "a_boxes.jpg", "a_regions.jpg", "clip_animal.mp4", "clip_boxes.mp4", "clip_regions.mp4",
    ]  # fmt: skip
    assert [frame.pixels.shape for frame in Video(out / "clip_regions.mp4").frames()] == [(48, 64, 3)] * 12


def test_lines_of_a_video_go_on(predict: Command, clip: Path, tmp_path: Path) -> None:
    lines = tmp_path / "found.jsonl"
    assert predict(clip, "--jsonl", lines).code == 0
    whole = lines.read_text()
    kept = "".join(whole.splitlines(keepends=True)[:5])
    lines.write_text(kept + '{"image": "cl')
    ended = predict(clip, "--jsonl", lines)
    assert ended.code == 0 and "5 frames of" in ended.err and "12 frames in" in ended.err
    assert [row["frame"] for row in rows(lines)] == list(range(12))
    assert lines.read_text().startswith(kept)
    again = predict(clip, "--jsonl", lines)
    assert again.code == 0 and len(rows(lines)) == 12


def test_damaged_videos(predict: Command, clip: Path, tmp_path: Path) -> None:
    damaged, lines = tmp_path / "damaged.mp4", tmp_path / "found.jsonl"
    damaged.write_bytes(b"nothing")
    ended = predict(damaged, "--jsonl", lines)
    assert ended.code == 2 and "damaged.mp4: not a readable video" in ended.err
    ended = predict(tmp_path / "*.mp4", "--jsonl", lines)
    assert ended.code == 3 and "skipped:" in ended.err and "1 of 2 images were skipped" in ended.err
    assert len(rows(lines)) == 13 and "not a readable video" in rows(lines)[-1]["error"]


def test_a_camera(predict: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "open_capture", lambda address: FakeCapture(60, 0.01))
    lines, out = tmp_path / "found.jsonl", tmp_path / "out"
    ended = predict("camera:0", "--jsonl", lines, "--out", out)
    assert ended.code == 0, ended.err
    found = rows(lines)
    numbers = [row["frame"] for row in found]
    assert numbers[-1] == 59 and numbers == sorted(set(numbers)) and {row["image"] for row in found} == {"camera:0"}
    assert (out / "camera-0_boxes.mp4").exists()
    assert predict("camera:0", "--jsonl", lines, "--out", out).code == 0
    assert len(rows(lines)) > len(found), "another look through a camera is no repetition"


def test_cameras_that_cannot_be(predict: Command, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "open_capture", lambda address: FakeCapture(0, 0, opened=False))
    lines = ("--jsonl", tmp_path / "found.jsonl")
    for arguments, said in (
        (("camera:0", *lines), "camera:0: cannot be opened"),
        (("rtsp://me:secret@door", *lines), "rtsp://door: cannot be opened"),
        (("camera:0", clip, *lines), "camera:0: a live source must be the only one"),
        (("camera:0", "--json"), "--json prints a list at the end"),
        (
            ("camera:0", "--coco-results", tmp_path / "c.json", "--branch", "boxes"),
            "camera:0: COCO results are for images",
        ),
        (("camera:x", *lines), "a camera is named by its number"),
    ):
        ended = predict(*arguments)
        assert ended.code == 2 and said in ended.err and "secret" not in ended.err


def test_ctrl_c_keeps_what_was_written(finished: Path, tmp_path: Path) -> None:
    """A real process, a camera without end, and the signal that a terminal sends."""
    lines, out = tmp_path / "found.jsonl", tmp_path / "out"
    command = ["vertebra", "predict", str(finished), "camera:0", "--jsonl", str(lines), "--out", str(out)]
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs have it off
        f"import sys; sys.argv = {command!r}\n"
        "from tests.inference.clips import FakeCapture\n"
        "from vertebra.inference.io import streams\n"
        "streams.open_capture = lambda address: FakeCapture(10**6, 0.02)\n"
        "from vertebra.cli.main import main\nmain()"
    )
    root = Path(__file__).parents[2]
    source = Path(streams.__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{root}"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(1200):
        if process.poll() is not None or (lines.exists() and len(lines.read_text().splitlines()) >= 5):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "frames in" in err
    assert len(rows(lines)) >= 5
    frames = list(Video(out / "camera-0_boxes.mp4").frames())
    assert len(frames) >= 5, "the video can be played"


def begin_part(predict: Command, path: Path, image: Path, *given: Any) -> None:
    """What a killed job leaves: the rows among what is given in the ``.part`` of a COCO file, made with the options among it."""
    found, options = (
        [one for one in given if isinstance(one, dict)],
        [one for one in given if not isinstance(one, dict)],
    )
    finish = CocoResults.finish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CocoResults, "finish", lambda self: None)
        assert predict(image, "--coco-results", path, "--branch", "boxes", *options).code == 0
    assert CocoResults.finish is finish and not path.exists()
    path.with_name(f"{path.name}.part").write_text("".join(json.dumps(row) + "\n" for row in found))


def test_coco(predict: Command, scenes: Path, tmp_path: Path) -> None:
    photos, path, part = tmp_path / "photos", tmp_path / "found.json", tmp_path / "found.json.part"
    photos.mkdir()
    for number, image in enumerate(sorted((scenes / "regions" / "images" / "test").iterdir()), start=10):
        shutil.copy(image, photos / f"{number:06d}.png")
    count = len(list(photos.iterdir()))
    first = sorted(photos.iterdir())[0]
    assert predict(first, "--coco-results", path, "--branch", "boxes", "--threshold", 0).code == 0
    begun = json.loads(path.read_text())
    path.unlink()
    begin_part(predict, path, first, {"image": str(first), "objects": begun}, "--threshold", 0)
    ended = predict(
        photos, "--coco-results", path, "--branch", "boxes", "--threshold", 0, "--jsonl", tmp_path / "found.jsonl"
    )
    assert ended.code == 0, ended.err
    found = json.loads(path.read_text())
    assert {row["image_id"] for row in found} == set(range(10, 10 + count)) and not part.exists()
    assert sum(row["image_id"] == 10 for row in found) == len(begun), "written once, though its line was still to write"
    assert len(rows(tmp_path / "found.jsonl")) == count
    ended = predict(photos, "--coco-results", path, "--branch", "boxes")
    assert ended.code == 2 and "nothing is overwritten" in ended.err


def test_coco_goes_on(predict: Command, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        Image.new("RGB", (64, 48)).save(tmp_path / f"{number}.png")
    path = tmp_path / "found.json"
    done = [{"image": str(tmp_path / f"{number}.png"), "objects": []} for number in (1, 2)]
    begin_part(predict, path, tmp_path / "3.png", *done, "--threshold", 1)
    ended = predict(tmp_path / "*.png", "--coco-results", path, "--branch", "boxes", "--threshold", 1)
    assert ended.code == 0 and "2 of 3 images are in" in ended.err and "3 images in" in ended.err
    assert json.loads(path.read_text()) == []


def test_coco_of_a_job_that_fails(predict: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vertebra.cli.writing import OutputWriter
    from vertebra.errors import DataError

    write = OutputWriter.write

    def failing(self: OutputWriter, result: Any) -> None:
        if result.path.name == "2.png":
            raise DataError("the disk is full")
        write(self, result)

    monkeypatch.setattr(OutputWriter, "write", failing)
    for number in (1, 2):
        Image.new("RGB", (64, 48)).save(tmp_path / f"{number}.png")
    path = tmp_path / "found.json"
    ended = predict(tmp_path / "*.png", "--coco-results", path, "--branch", "boxes")
    assert ended.code == 2 and f"1 images in {path}.part" in ended.err and not path.exists()


def test_coco_that_cannot_be(predict: Command, clip: Path, tmp_path: Path) -> None:
    image, path, ground_truth = tmp_path / "a.png", tmp_path / "found.json", tmp_path / "truth.json"
    Image.new("RGB", (64, 48)).save(image)
    ground_truth.write_text('{"images": [{"id": 1, "file_name": "b.png"}], "categories": [{"id": 1, "name": "dog"}]}')
    for arguments, said in (
        ((clip, "--coco-results", path), "clip.mp4: COCO results are for images"),
        (
            (image, "--coco-results", path, "--branch", "animal"),
            "unknown branch with COCO results 'animal'",
        ),
        (
            (image, "--coco-results", path, "--branch", "boxes", "--coco-gt", ground_truth),
            "a.png: not among the 1 images",
        ),
        ((image, "--json", "--coco-gt", ground_truth), "--coco-gt needs --coco-results"),
        ((image, "--json", "--branch", "boxes"), "--branch needs --coco-results"),
        ((image,), "--save-as FORMAT FOLDER for a data set, --mot FOLDER for tracks, or --json"),
    ):
        ended = predict(*arguments)
        assert ended.code == 2 and said in ended.err, ended.err
    assert not path.exists()


def test_tracks(predict: Command, tmp_path: Path) -> None:
    folder, lines, mot = tmp_path / "frames", tmp_path / "found.jsonl", tmp_path / "mot"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (40 * number, 0, 0)).save(folder / f"{number}.png")
    ended = predict(
        folder, "--track", "--threshold", "0", "--jsonl", lines, "--mot", mot, "--track-option", "match_iou=0.1"
    )
    assert ended.code == 0 and "frames: its images, sorted by name, are the frames of one video" in ended.err
    assert [(row["image"], row["frame"]) for row in rows(lines)] == [(str(folder), number) for number in range(3)]
    tracks = [one["track_id"] for row in rows(lines) for one in row["boxes"]["objects"]]
    assert tracks and min(tracks) == 1 and f"tracks {mot / 'frames.txt'}" in ended.err
    assert (mot / "frames.txt").read_text().startswith("1,") and len(tracks) == len(
        (mot / "frames.txt").read_text().split()
    )


def test_tracks_that_cannot_be(predict: Command, clip: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    for arguments, said in (
        ((tmp_path / "0.png", "--track", "--json"), "0.png: tracks are for videos, cameras, and folders"),
        ((clip, "--tracker", "ocsort", "--json"), "--tracker needs --track"),
        ((clip, "--mot", "x", "--json"), "--mot needs --track"),
        ((clip, "--track", "--tracker", "ocsot", "--json"), "Did you mean 'ocsort'?"),
        ((clip, "--track", "--track-option", "x=1", "--json"), "unknown option of Tracker"),
        ((clip, "--track", "--json", "--engine", "ray"), "leave out --engine ray"),
        ((tmp_path, "--track", "--save-as", "coco", tmp_path / "x"), "a data set is for images"),
    ):
        ended = predict(*arguments)
        assert ended.code == 2 and said in ended.err, ended.err
