"""The commands of ``vertebra data``: their output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vertebra.cli.main import app


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for folder, count in {"train/cat": 12, "train/dog": 12, "val/cat": 10, "val/dog": 10}.items():
        for number in range(count):
            (root / folder).mkdir(parents=True, exist_ok=True)
            draw = np.random.default_rng(list(f"{folder}{number}".encode()))
            small = Image.fromarray(draw.integers(0, 255, (6, 8, 3), dtype=np.uint8))
            small.resize((80, 60), Image.Resampling.NEAREST).save(root / folder / f"{number}.png")
    return root


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_check_needs_no_task_and_exits_with_1_on_errors(folders: Path) -> None:
    code, text = run("data", "check", folders)
    assert code == 0 and text.startswith(f"{folders}: format image_folder, task classify\n")
    for number in range(5):
        (folders / f"train/cat/{number}.png").write_bytes(b"broken")
    code, text = run("data", "check", folders, "--json")
    report = json.loads(text)
    (finding,) = [one for one in report["splits"]["train"]["findings"] if one["kind"] == "unreadable"]
    assert code == 1 and report["sound"] is False and len(finding["files"]) == 5 and finding["severity"] == "error"


def test_check_fix_writes_a_copy_without_what_is_broken(folders: Path, tmp_path: Path) -> None:
    (folders / "train/cat/0.png").write_bytes(b"broken")
    code, text = run("data", "check", folders, "--fix", tmp_path / "corrected")
    assert code == 1 and "fix: 1 image that cannot be read was left out: train/cat/0.png" in text
    assert run("data", "check", tmp_path / "corrected")[0] == 0


def test_show_prints_tables_and_writes_files(folders: Path, tmp_path: Path) -> None:
    code, text = run("data", "show", folders, "--out", tmp_path / "shown", "--images", 4, "--page-images", 6)
    assert code == 0 and "Classes: classify" in text and "80x60" in text
    assert {path.name for path in (tmp_path / "shown").iterdir()} == {"sheet.png", "index.html"}


def test_split_writes_lists(folders: Path, tmp_path: Path) -> None:
    code, text = run("data", "split", folders, "--val", 0.25, "--out", tmp_path / "lists")
    assert code == 0 and "vertebra train --data" in text
    assert [len((tmp_path / "lists" / f"{name}.txt").read_text().splitlines()) for name in ("train", "val")] == [33, 11]


def test_split_prints_many_classes_in_rows(tmp_path: Path) -> None:
    for folder in range(12):
        for number in range(5):
            (tmp_path / "set" / f"kind{folder}").mkdir(parents=True, exist_ok=True)
            draw = np.random.default_rng([folder, number])
            Image.fromarray(draw.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(
                tmp_path / f"set/kind{folder}/{number}.png"
            )
    code, text = run("data", "split", tmp_path / "set", "--val", 0.2, "--out", tmp_path / "lists")
    assert code == 0
    assert [line.split() for line in text.splitlines() if "kind11" in line] == [
        ["│", "kind11", "│", "4", "│", "1", "│"]
    ]


def test_a_damaged_file_is_told_of_once_and_show_names_tasks(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text(
        '{"images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}], "annotations": ['
    )
    code, text = run("data", "check", tmp_path / "cut.json")
    lines = text.splitlines()
    assert (
        code == 1 and len(lines) == 2 and lines[1].startswith(f"error: train, val, test: {tmp_path}/cut.json: damaged")
    )
    Image.new("RGB", (32, 24)).save(tmp_path / "a.png")
    item = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "segmentation": [[1, 1, 9, 1, 9, 9]]}
    document = {"images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}], "annotations": [item]}
    (tmp_path / "cut.json").unlink()
    (tmp_path / "all.json").write_text(json.dumps({**document, "categories": [{"id": 1, "name": "dog"}]}))
    assert "warning in train (segment): 1 class with fewer than 10 samples: dog 1" in run("data", "show", tmp_path)[1]
