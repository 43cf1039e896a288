"""Runs on points of which nobody said which are left and right: nothing is mirrored, and that is told from training to export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

import vertebra
from vertebra import load
from vertebra.config import Config, TrainConfig
from vertebra.data.transforms import pending_cut
from vertebra.errors import ConfigError
from vertebra.inference.model_source import ModelSource
from vertebra.inference.ray.predictor import RayPredictor
from vertebra.inference.tta import tta_views
from vertebra.model_info import model_info
from vertebra.runtimes.model_files import metadata
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.training.loaders import RunData
from vertebra.training.run import model_of_config

SIZE = (64, 64)
POINTS = ("p0", "p1", "p2", "p3", "p4")  # eyes, nose, corners of the mouth
TOLD = "branch 'keypoints': its images are not mirrored in training, because the left-right pairs"


def info(draw: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """A drawn face and its five points; nothing but the place of a point tells its side."""
    picture = Image.new("RGB", SIZE, (210, 200, 190))
    x, y, size = draw.uniform(24, 40), draw.uniform(24, 40), draw.uniform(10, 16)
    points = np.array([[-0.6, -0.6], [0.6, -0.6], [0, 0], [-0.5, 0.7], [0.5, 0.7]]) * size + [x, y]
    pen = ImageDraw.Draw(picture)
    pen.ellipse((x - 1.3 * size, y - 1.3 * size, x + 1.3 * size, y + 1.3 * size), fill=(150, 110, 80))
    for place in (0, 1):
        pen.ellipse((*(points[place] - 2), *(points[place] + 2)), fill=(20, 20, 90))
    pen.line([tuple(points[3]), tuple(points[4])], fill=(160, 20, 20), width=2)
    return picture, points + draw.normal(size=points.shape) * 0.3


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of points of forty drawn faces."""
    root = tmp_path_factory.mktemp("faces")
    draw = np.random.default_rng(0)
    names = ",".join(f"{name},{name}" for name in POINTS)
    lines = ["scorer" + ",me" * 10, f"bodyparts,{names}", "coords" + ",x,y" * 5]
    for number in range(40):
        picture, points = info(draw)
        picture.save(root / f"{number:02}.png")
        lines.append(",".join([f"{number:02}.png", *(f"{value:.2f}" for value in points.reshape(-1))]))
    (root / "CollectedData_me.csv").write_text("\n".join(lines))
    return root


def config(path: Path, **labels: Any) -> dict[str, Any]:
    return {
        "data": str(path),
        "model": {
            "backbone": "resnet10t",
            "task": "keypoints",
            "decoder": {"name": "heatmap", "channels": 8},
            **labels,
        },
        "train": {"epochs": 1, "batch_size": 16, "image_size": list(SIZE), "workers": 0, "precision": "32"},
    }


def kept_pairs(run: Path) -> Any:
    return yaml.safe_load((run / "config.yaml").read_text())["model"]["branches"]["keypoints"]["flip_pairs"]


def test_unknown_pairs_stay_unknown_from_data_to_export(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = vertebra.train(config(faces), out=tmp_path / "run")
    told = [line for line in capsys.readouterr().err.splitlines() if TOLD in line]
    assert len(told) == 1 and "flip_pairs: [[LEFT, RIGHT], ...]" in told[0] and "flip_pairs: []" in told[0]
    assert kept_pairs(run) is None
    model = load(run)
    assert model.branch("keypoints").labels.flip_pairs is None  # type: ignore[attr-defined]
    again = Config.from_raw(yaml.safe_load((run / "config.yaml").read_text()))
    assert again.model.branches["keypoints"].label_fields["flip_pairs"] is None, "as a resumed run reads it"
    with pytest.raises(
        ConfigError, match=r"'flip' is not for branch 'keypoints': the left-right pairs .* or leave out 'flip'"
    ):
        list(model.predict(faces / "00.png", flip=True))
    assert len(list(model.predict(faces / "00.png"))) == 1
    info = metadata.FileInfo(model_info(model), {"keypoints": ["points"]}, {}, model.config)
    read = metadata.from_json(metadata.to_json(info), "model.onnx")
    assert read.info.branches["keypoints"][1] == model.branch("keypoints").labels
    with pytest.raises(ConfigError, match="'flip' is not for branch 'keypoints'"):
        tta_views(read.info, True, [1.0])


def test_a_cluster_is_not_asked_to_flip_what_must_not_be(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of_config(config(faces), "config")
    monkeypatch.setattr(ModelSource, "info", model_info(model))
    with pytest.raises(ConfigError, match="'flip' is not for branch 'keypoints'"):
        next(RayPredictor(ModelSource(faces / "none.onnx"), flip=True).stream([str(faces / "00.png")]))


def test_files_from_before_pairs_could_be_unknown(faces: Path) -> None:
    """An exported file without the entry knows no pairs; an empty list stays what it says."""
    model = model_of_config(config(faces, flip_pairs=[]), "config")
    text = metadata.to_json(metadata.FileInfo(model_info(model), {"keypoints": ["points"]}, {}, model.config))
    assert metadata.from_json(text, "model.onnx").info.branches["keypoints"][1].mirror_refusal is None
    values = json.loads(text)
    del values["branches"]["keypoints"]["labels"]["flip_pairs"]
    assert metadata.from_json(json.dumps(values), "model.onnx").info.branches["keypoints"][1].mirror_refusal


@pytest.mark.parametrize(
    ("given", "ids"), [([], ()), ([[0, 1], [3, 4]], ((0, 1), (3, 4))), ([["p1", "p0"], ["p4", "p3"]], ((1, 0), (4, 3)))]
)
def test_pairs_of_the_config_are_kept(faces: Path, given: Any, ids: Any) -> None:
    """An empty list says that mirroring is harmless."""
    labels = model_of_config(config(faces, flip_pairs=given), "config").branch("keypoints").labels
    assert isinstance(labels, KeypointLabels) and labels.flip_pairs == ids and labels.mirror_refusal is None


def test_a_run_with_pairs_mirrors_and_does_not_complain(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[bool] = []

    def watched(*arguments: Any) -> Any:
        windows.append(arguments[4].mirror)
        return pending_cut(*arguments)

    monkeypatch.setattr("vertebra.data.transforms.pending_cut", watched)
    run = vertebra.train(config(faces, flip_pairs=[["p0", "p1"], ["p3", "p4"]]), out=tmp_path / "named")
    assert any(windows) and TOLD not in capsys.readouterr().err
    assert len(list(load(run).predict(faces / "00.png", flip=True))) == 1
    assert kept_pairs(run) == [["p0", "p1"], ["p3", "p4"]]
    windows.clear()
    vertebra.train(config(faces), out=tmp_path / "unnamed")
    assert windows and not any(windows)


def test_where_nothing_would_be_mirrored_nothing_is_told(faces: Path) -> None:
    model = model_of_config(config(faces), "config")
    assert RunData(model, TrainConfig(augment="none"), [], []).unmirrored() == []
    (line,) = RunData(model, TrainConfig(augment="default"), [], []).unmirrored()
    assert line.startswith(TOLD)


def test_names_that_tell_left_and_right_need_no_pairs(faces: Path) -> None:
    """Points that are named in the config, of data whose points are others or of none; null says that the pairs are unknown."""
    for pairs, expected in (({}, ((0, 1),)), ({"flip_pairs": None}, None)):
        given = {"points": ["l_ear", "r_ear"], **pairs}
        model = vertebra.create_model(
            "resnet10t", decoder={"name": "heatmap", "channels": 8}, classes=["dog"], labels=given, image_size=64
        )
        assert model.branch("keypoints").labels.flip_pairs == expected  # type: ignore[attr-defined]


def test_wrong_pairs_are_refused(faces: Path) -> None:
    with pytest.raises(ConfigError, match="'flip_pairs' has point 'p9', which is not in 'points'"):
        model_of_config(config(faces, flip_pairs=[["p0", "p9"]]), "config")
    with pytest.raises(ConfigError, match=r"model.branches.keypoints.flip_pairs.* must be .*, got true"):
        model_of_config(config(faces, flip_pairs=[[True, 1]]), "config")
