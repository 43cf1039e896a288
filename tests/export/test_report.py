"""Reports of runs and models: from real evaluations, without data, and of two runs side by side."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import vertebra
from vertebra.errors import ConfigError, DataError, UnknownName
from vertebra.training import report as training_report

TRAIN: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 6,
    "workers": 0,
    "precision": "32",
    "image_size": 32,
    "resize": "resize",
}


@pytest.fixture(scope="module")
def runs(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs on a copy of the animals that differ in their rate; the report of the second one evaluates three images."""
    root = tmp_path_factory.mktemp("reports")
    shutil.copytree(scenes / "animals", root / "animals")
    config = {"data": str(root / "animals"), "model": {"backbone": "test_resnet", "decoder": "linear"}}
    first = vertebra.train({**config, "train": {**TRAIN, "lr": 0.01}}, out=root / "first").folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_report, "MAX_IMAGES", 3)
        second = vertebra.train({**config, "train": {**TRAIN, "lr": 0.001}}, out=root / "second").folder
    return first, second


def text_of(page: Path) -> str:
    """The text of a page, without its style and script."""
    html = page.read_text(encoding="utf-8")
    html = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_run_ends_with_a_report_of_a_limited_number_of_images(runs: tuple[Path, Path]) -> None:
    first, second = (text_of(run / "report.html") for run in runs)
    whole = int(re.search(r"([0-9]+) in val", second)[1])  # type: ignore[index]
    assert f"val: {whole} images" in first and re.search(rf"val: 3 of {whole} images, evenly spread", second)
    for words in (
        "Worst images",
        "Typical images",
        "Best images",
        "What the network saw",
        "Images with each class of classify",
    ):
        assert words in first
    assert "share of the images whose most probable class is correct" in first


def test_the_report_of_a_split_stands_beside_that_of_the_run(runs: tuple[Path, Path]) -> None:
    before = (runs[0] / "report.html").read_bytes()
    page = vertebra.Run(runs[0]).write_report(split="test")
    assert page == runs[0] / "report_test.html" and (runs[0] / "report.html").read_bytes() == before
    scores = vertebra.evaluate(runs[0], split="test")
    assert f"classify/accuracy (selected the weights) {scores['classify/accuracy']:.4f}" in text_of(page)
    html = page.read_text(encoding="utf-8")
    (link, *_) = re.findall(r'<a href="(file://[^"]+)"', html)
    assert Path(link.removeprefix("file://")).is_file() and "http" not in html.replace("http://www.w3.org", "")


def test_two_runs_side_by_side(runs: tuple[Path, Path], tmp_path: Path) -> None:
    page = vertebra.write_report(list(runs), out=tmp_path / "both.html")
    text = text_of(page)
    scores = [vertebra.evaluate(run, split="val")["classify/loss"] for run in runs]
    assert f"classify/loss {scores[0]:.4f} {scores[1]:.4f} {scores[1] - scores[0]:.4f}" in text
    assert re.search(r"train\.lr 0\.01 0\.001", text) and "train.batch_size" not in text
    assert "Validation loss of classify" in text and "classify/class accuracy on the images of each class" in text
    assert "Images that got better (classify)" in text or "Images that got worse (classify)" in text
    assert re.search(r"ground truth .*?first .*?second .*?loss \S+ → \S+", text)


def test_a_run_whose_data_are_gone(runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "alone"))
    config = (run / "config.yaml").read_text().replace(str(runs[0].parent / "animals"), str(tmp_path / "gone"))
    (run / "config.yaml").write_text(config)
    text = text_of(vertebra.write_report(run))
    assert "Without an evaluation and pictures" in text and "Curves" in text and "Worst images" not in text
    assert "classify/accuracy" in text and "the report has no evaluation" in capsys.readouterr().err
    both = text_of(vertebra.write_report([run, runs[1]], out=tmp_path / "both.html"))
    assert "Fewer than two of these could be evaluated" in both
    with pytest.raises(DataError, match="nowhere"):
        vertebra.write_report(run, data=tmp_path / "nowhere")


def test_a_model_needs_data_and_a_page(runs: tuple[Path, Path], tmp_path: Path) -> None:
    model = vertebra.load(vertebra.load(runs[0]).save(tmp_path / "model.safetensors"))
    with pytest.raises(ConfigError, match="name a data set"):
        model.write_report()
    page = model.write_report(runs[0].parent / "animals", split="val")
    assert page == tmp_path / "model_report.html" and "Curves" not in text_of(page)
    with pytest.raises(UnknownName, match="split"):
        vertebra.write_report(runs[0], split="tests")
    with pytest.raises(ConfigError, match="a report needs a run folder"):
        vertebra.write_report([])
    fresh = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=32)
    with pytest.raises(ConfigError, match="name the page"):
        fresh.write_report(runs[0].parent / "animals")
