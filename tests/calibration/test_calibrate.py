"""``vertebra calibrate`` on a real run: new files with thresholds and temperatures, and all that carries them on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vertebra
from tests.inference.painted import CORNERS
from vertebra.calibration.run import calibrate
from vertebra.cli.main import main
from vertebra.errors import ConfigError, DataError, RunError, UnknownName, WeightsError
from vertebra.training.execution import _keep_thresholds
from vertebra.weights.header import read_header
from vertebra.weights.stored_calibration import (
    calibration_header,
    clear_calibration,
    set_temperature,
    store_deciding_thresholds,
    store_thresholds,
)

LOOSE: dict[str, Any] = {"miss": 0.9, "confidence": 0.3}  # of which a few images are enough


@pytest.fixture(scope="module")
def run(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run of three branches, without its state of training."""
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("*.ckpt"))
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> vertebra.Model:
    """The model of the run, without the thresholds that training stored."""
    loaded = vertebra.load(run)
    assert isinstance(loaded, vertebra.Model) and set(loaded.thresholds) == {"boxes"}, "the only branch they decide"
    clear_calibration(loaded)
    return loaded


def weights(path: Path) -> dict[str, torch.Tensor]:
    return vertebra.load(path).state_dict()  # type: ignore[union-attr]


def command(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> int:
    monkeypatch.setattr("sys.argv", ["vertebra", "calibrate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_thresholds_are_written_to_a_new_file_and_predicted_with(
    run: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "model.safetensors").read_bytes()
    options = ["--data", scenes / "animals", "--split", "test", "--branch", "animal"]
    code = command(monkeypatch, run, *options, "--miss", 0.9, "--confidence", 0.3, "--json")
    printed = json.loads(capsys.readouterr().out)
    points = {point["class_name"]: point for point in printed["points"]["animal"]}
    stored = {name: point["threshold"] for name, point in points.items() if point["threshold"] is not None}
    assert code == (0 if len(stored) == len(points) else 3) and stored and printed["images"] == {"animal": 5}
    assert (run / "model.safetensors").read_bytes() == before and printed["path"] == str(run / "calibrated.safetensors")
    calibrated = vertebra.load(run / "calibrated.safetensors")
    assert calibrated.thresholds["animal"] == stored  # type: ignore[union-attr]
    promise = calibrated.promises["animal"]  # type: ignore[union-attr]
    assert (promise["miss"], promise["confidence"]) == (0.9, 0.3) and set(promise["images"]) == set(stored)
    old, new = weights(run), weights(run / "calibrated.safetensors")
    assert all(torch.equal(old[name], new[name]) for name in old)
    image = next((scenes / "animals" / "test").rglob("*.png"))
    (result,) = calibrated.predict(image)
    scores = dict(zip(result["animal"].class_names, result["animal"].scores.tolist(), strict=True))
    assert set(result["animal"].accepted.class_names) == {
        name for name in scores if scores[name] >= stored.get(name, 0.5)
    }
    assert command(monkeypatch, run, *options, "--miss", 0.9) == 2 and "exists" in capsys.readouterr().err


def test_too_few_images_store_nothing_and_the_exit_code_says_so(
    run: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new.safetensors"
    options = ["--data", scenes / "animals", "--split", "test", "--branch", "animal", "--out", out]
    assert command(monkeypatch, run, *options, "--miss", 0.1) == 3 and not out.exists()
    printed = capsys.readouterr().out
    assert "at least 29 are needed" in printed and "nothing is written" in printed


def test_temperatures_are_fitted_and_change_no_order(
    run: Path, model: vertebra.Model, scenes: Path, tmp_path: Path
) -> None:
    result = calibrate(
        run,
        data=scenes / "regions",
        branches=["regions"],
        temperature=True,
        split="test",
        out=tmp_path / "t.safetensors",
    )
    fitted = result.temperatures["regions"]
    assert fitted.nll_after <= fitted.nll_before and result.complete and fitted.rows == 5 * 48 * 64 // 2
    calibrated = vertebra.load(tmp_path / "t.safetensors")
    assert isinstance(calibrated, vertebra.Model)
    assert calibrated.branch("regions").decoder.temperature == fitted.temperature != 1
    image = next((scenes / "regions" / "images" / "test").glob("*.png"))
    first, second = (each.predict(image, probabilities=True)[0]["regions"] for each in (model, calibrated))
    rescaled = first.probabilities ** (1 / fitted.temperature)
    np.testing.assert_allclose(second.probabilities, rescaled / rescaled.sum(axis=0), atol=0.02)
    assert (first.mask == second.mask).mean() > 0.98


def test_files_carry_thresholds_promises_and_temperatures(model: vertebra.Model, scenes: Path, tmp_path: Path) -> None:
    """Saved, loaded and exported: one set of answers. Without them outputs and header are what they were, to the bit."""
    images = torch.zeros(1, 3, 48, 64, dtype=torch.uint8)
    header, plain = calibration_header(model), model(images)
    assert header == {} and "thresholds" not in read_header(vertebra.save(model, tmp_path / "plain.safetensors"))[0]
    calibrated = vertebra.load(tmp_path / "plain.safetensors")
    assert isinstance(calibrated, vertebra.Model)
    classes = calibrated.branch("boxes").labels.classes
    stored = {
        "animal": {classes[0]: 0.2},
        "boxes": {name: 0.01 + 0.001 * number for number, name in enumerate(classes)},
    }
    calibrated.predict(np.zeros((48, 64, 3), np.uint8))  # an engine that is kept must notice the change
    store_thresholds(calibrated, stored, {"boxes": {"miss": 0.1}})
    for name in calibrated.branches:
        set_temperature(calibrated, name, 2.0)
    loaded = vertebra.load(vertebra.save(calibrated, tmp_path / "new.safetensors"))
    assert isinstance(loaded, vertebra.Model) and calibration_header(loaded) == calibration_header(calibrated)
    loaded.export(tmp_path / "new.onnx", images=str(scenes / "animals"))
    exported = vertebra.load(tmp_path / "new.onnx")
    assert exported.info.thresholds == stored and exported.info.promises == {"boxes": {"miss": 0.1}}
    assert exported.details["decoding"]["boxes"]["thresholds"] == stored["boxes"]
    assert "thresholds by class" in exported.summary() and "missed: at most 0.1" in exported.summary()
    picture = next((scenes / "animals" / "test").rglob("*.png"))
    here, there = (each.predict(picture)[0] for each in (calibrated, exported))
    np.testing.assert_allclose(here["animal"].probabilities, there["animal"].probabilities, atol=1e-3)
    assert here["animal"].accepted.class_names == there["animal"].accepted.class_names
    limits = np.array(list(stored["boxes"].values()))
    for boxes in (here["boxes"], there["boxes"]):
        assert (boxes.scores >= limits[boxes.class_ids]).all() and boxes.draw_threshold == 0.01
    clear_calibration(loaded)
    again = loaded(images)
    assert all(
        torch.equal(value, again[name][row]) for name, values in plain.items() for row, value in enumerate(values)
    )


def test_a_file_with_wrong_thresholds_is_refused(model: vertebra.Model, tmp_path: Path) -> None:
    path = vertebra.save(model, tmp_path / "model.safetensors")
    changed = vertebra.load(path)
    assert isinstance(changed, vertebra.Model)
    changed.thresholds = {"boxes": {"unicorn": 0.5}}
    with pytest.raises(UnknownName, match="unicorn"):
        vertebra.save(changed, tmp_path / "wrong.safetensors")
    changed.thresholds = {"boxes": {}, "trees": {}}
    with pytest.raises(UnknownName, match="trees"):
        vertebra.save(changed, tmp_path / "wrong.safetensors")
    from vertebra.weights import model_file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_file, "calibration_header", lambda model: {"thresholds": {"boxes": {"unicorn": 0.5}}})
        model_file.write(changed, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError, match="unicorn"):
        vertebra.load(tmp_path / "wrong.safetensors")


def test_a_finished_run_keeps_the_thresholds_of_objects(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "model.safetensors", tmp_path)
    model = vertebra.load(tmp_path / "model.safetensors")
    assert isinstance(model, vertebra.Model)
    first = model.branch("boxes").labels.classes[0]
    _keep_thresholds(model, tmp_path, {"boxes": {first: 0.4}, "animal": {first: 0.3}, "regions": {}})
    assert model.thresholds == {"boxes": {first: 0.4}}, "the most probable class is the prediction of exclusive ones"
    header, _ = read_header(tmp_path / "model.safetensors")
    old, _ = read_header(run / "model.safetensors")
    assert header["thresholds"] == {"boxes": {first: 0.4}}
    assert all(header[name] == old[name] for name in old if name not in ("checksums", "thresholds"))
    _keep_thresholds(model, tmp_path, None)
    store_deciding_thresholds(model, {"boxes": {}})
    assert model.thresholds == {}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ConfigError, "choose what to calibrate"),
        ({"temperature": True, "miss": 0.1}, ConfigError, "on other images"),
        ({"miss": 1.0}, ConfigError, "'miss' must be between 0 and 1"),
        ({"miss": 0.1, "confidence": 0.0}, ConfigError, "'confidence' must be between 0 and 1"),
        ({"miss": 0.1, "branches": ["trees"]}, UnknownName, "trees"),
        ({"miss": 0.1, "branches": ["regions"]}, ConfigError, "no threshold of objects or classes in the task segment"),
        ({"miss": 0.1, "branches": ["animal"], "split": "tset"}, UnknownName, "tset"),
        ({"miss": 0.1, "branches": ["animal"], "split": "train"}, DataError, "was trained on these images"),
        ({"miss": 0.1, "out": "model.onnx"}, ConfigError, "safetensors"),
        ({"source": "nowhere", "miss": 0.1}, RunError, "nowhere"),
        ({"source": "file.onnx", "miss": 0.1}, ConfigError, "export that again"),
    ],
)
def test_what_cannot_be_calibrated(
    run: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    given = {"out": tmp_path / "new.safetensors", **options}
    with pytest.raises(error, match=words):
        calibrate(given.pop("source", run), **given)


def test_all_of_other_data_are_used_and_those_of_training_are_refused(run: Path, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(DataError, match="was trained on these images"):
        calibrate(run, data=scenes / "animals", branches=["animal"], out=out, **LOOSE)
    shutil.copytree(scenes / "animals" / "test", tmp_path / "photos")
    assert calibrate(run, data=tmp_path / "photos", branches=["animal"], out=out, **LOOSE).images == {"animal": 5}


def test_a_temperature_needs_a_branch_and_a_range(model: vertebra.Model) -> None:
    with pytest.raises(UnknownName, match="trees"):
        set_temperature(model, "trees", 2.0)
    for value in (0.0, 21.0, float("nan"), True, "2"):
        with pytest.raises(ConfigError, match="temperature must be a number from 0.05 to 20"):
            set_temperature(model, "boxes", value)  # type: ignore[arg-type]
    points = {"task": "keypoints", "classes": list(CORNERS.classes), "points": list(CORNERS.points), "neck": "fpn"}
    poses = vertebra.create_model("test_resnet", branches={"pose": {**points, "decoder": "heatmap"}}, image_size=64)
    with pytest.raises(ConfigError, match="have no temperature"):
        set_temperature(poses, "pose", 2.0)


def test_a_new_temperature_brings_thresholds_over(run: Path, scenes: Path, tmp_path: Path) -> None:
    model = vertebra.load(run)
    assert isinstance(model, vertebra.Model)
    classes = model.branch("boxes").labels.classes
    store_thresholds(model, {"boxes": {classes[0]: 0.02}, "animal": {classes[0]: 0.2}}, {"boxes": {"miss": 0.2}})
    path = vertebra.save(model, tmp_path / "model.safetensors")
    result = calibrate(path, data=scenes / "boxes", split="test", branches=["boxes"], temperature=True)
    assert result.path == tmp_path / "model-calibrated.safetensors"
    changed = vertebra.load(result.path)
    assert isinstance(changed, vertebra.Model) and changed.promises == {"boxes": {"miss": 0.2}}
    odds = (0.02 / 0.98) ** (1 / result.temperatures["boxes"].temperature)
    assert changed.thresholds["boxes"][classes[0]] == pytest.approx(odds / (1 + odds), rel=2e-3)
