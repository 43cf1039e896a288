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


def test_a_file_of_another_kind_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(DataError, match=r"notes\.txt: line 1 is no prediction"):
        JsonLines(path)
    assert path.read_text() == "dear diary\n"
