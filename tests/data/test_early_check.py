"""What ``vertebra train`` refuses before it imports torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vertebra.data.early_check import check_sources
from vertebra.errors import ConfigError, DataError, VertebraError

Voc = Callable[..., Path]
BOX = ("dog", 2, 3, 8, 9)


@pytest.fixture
def boxes(voc: Voc, tmp_path: Path) -> Path:
    root = voc({"a": [BOX], "b": [BOX], "c": [BOX]})
    (tmp_path / "good.txt").write_text("JPEGImages/a.png\n")
    (tmp_path / "other.txt").write_text("x.png\n")
    return root


def config(path: Path, **source: object) -> dict:
    return {
        "data": {"path": str(path), **source},
        "model": {"task": "detect", "backbone": "resnet10t", "decoder": "fcos"},
    }


def test_wrong_data_sets_and_lists_are_refused(boxes: Path, tmp_path: Path) -> None:
    check_sources(config(boxes), "options")
    check_sources(config(boxes, lists=str(tmp_path / "good.txt")), "options")
    check_sources({"model": {}}, "options")
    wrong: list[tuple[dict, type[VertebraError], str]] = [
        (config(tmp_path / "nowhere"), DataError, "no such folder or file"),
        (config(Path("/")), DataError, "the whole file system is no data set"),
        (config(boxes, lists=str(tmp_path / "nowhere.txt")), DataError, "no such list file"),
        (config(boxes, lists=str(tmp_path / "other.txt")), DataError, "1 of its 1 images are not in"),
        (config(boxes, fromat="coco"), ConfigError, "fromat"),
        (
            {**config(boxes), "model": {"branches": {"a": {"decoder": "fcos"}}}, "data": str(tmp_path / "x")},
            DataError,
            "no such",
        ),
    ]
    for raw, error, message in wrong:
        with pytest.raises(error, match=message):
            check_sources(raw, "options")


def test_the_command_refuses_without_importing_torch(boxes: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,width\na.png,5\n")
    program = (
        "import sys\nfrom vertebra.cli.main import main\nsys.argv[1:] = ['train', *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules, 'lightning' in sys.modules)"
    )
    for options in (["--task", "classify"], []):
        command = [sys.executable, "-c", program, "--data", str(tmp_path / "labels.csv"), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode != 0 and "no column with names of images" in done.stderr
        assert done.stdout.split() == ["False", "False"], done.stdout + done.stderr
