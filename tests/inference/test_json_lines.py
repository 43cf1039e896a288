"""Results are written as they come, and a job goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vertebra.errors import DataError
from vertebra.inference.json_lines import JsonLines


def test_a_killed_job_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "found.jsonl"
    with JsonLines(path) as lines:
        lines.write({"image": "a.jpg", "boxes": []})
        lines.write({"image": "ü.jpg", "boxes": [1]})
        assert [json.loads(line)["image"] for line in path.read_text().splitlines()] == ["a.jpg", "ü.jpg"]
    with path.open("a") as file:
        file.write('{"image": "c.j')
    with JsonLines(path) as lines:
        assert lines.done == {"a.jpg", "ü.jpg"}
        lines.write({"image": "c.jpg"})
    assert [json.loads(line)["image"] for line in path.read_text().splitlines()] == ["a.jpg", "ü.jpg", "c.jpg"]


def test_frames_are_counted_by_their_video(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    with JsonLines(path) as lines:
        for number in (0, 1, 3):
            lines.write({"image": "clip.mp4", "frame": number, "time": None})
        lines.write({"image": "a.jpg"})
    with JsonLines(path) as lines:
        assert lines.done == {"a.jpg"} and lines.frames == {"clip.mp4": {0, 1, 3}} and len(lines) == 4
        assert lines.has("clip.mp4", 3) and not lines.has("clip.mp4", 2) and not lines.has("clip.mp4")
        assert lines.has("a.jpg") and not lines.has("b.mp4", 0)
        assert [row["image"] for row in lines.rows()] == ["clip.mp4"] * 3 + ["a.jpg"]


def test_a_file_of_another_kind_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(DataError, match=r"notes\.txt: line 1 is no prediction"):
        JsonLines(path)
    assert path.read_text() == "dear diary\n"
    for line in ("[1]", '{"image": "a.mp4", "frame": "first"}', '"image"'):
        path.write_text(line + "\n")
        with pytest.raises(DataError, match="line 1 is no prediction"):
            JsonLines(path)


def test_an_unfinished_line_of_somebody_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary")
    with pytest.raises(DataError, match=r"notes\.txt: line 1 is no prediction"):
        JsonLines(path)
    assert path.read_text() == "dear diary"
    path.write_text('{"im')  # cut off in writing
    with JsonLines(path) as lines:
        assert len(lines) == 0
    assert path.read_text() == ""


def test_frames_of_a_camera_are_counted_not_remembered(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "found.jsonl") as lines:
        for number in range(3):
            lines.write({"image": "camera:0", "frame": number, "time": 0.1})
        assert lines.live == len(lines) == 3 and not lines.frames
