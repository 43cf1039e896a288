"""A run without options of length and size chooses them, records why, and keeps them when it is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import vertebra
from tests.resolved import resolved_train
from vertebra.config import Config, TrainConfig
from vertebra.data.open_datasets import open_split
from vertebra.errors import ConfigError, RunError
from vertebra.model_info import model_info
from vertebra.recipe import choices
from vertebra.recipe.defaults import IMAGE_LEVEL_BACKBONE_LR, IMAGE_LEVEL_FROZEN_SHARE
from vertebra.training import choosing, execution
from vertebra.training.choosing import SameChoices, few_images_notes, make_choices
from vertebra.training.hardware import Hardware
from vertebra.training.loaders import mixed
from vertebra.training.resolved_config import ResolvedTrain, resolved_config

FAST = {"image_size": [32, 64], "workers": 0, "precision": "32", "ema": None}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of these few images has six steps."""
    monkeypatch.setattr(choices, "MIN_STEPS", 6)
    monkeypatch.setattr(choices, "STEPS_PER_ROOT", 0)
    monkeypatch.setattr(choices, "MIN_EPOCHS", ((1000, 1),))
    monkeypatch.setattr(execution, "write_run_report", lambda *given: None)


def classifier(classes: list[str]) -> Any:
    return vertebra.create_model("resnet10t", decoder="linear", classes=classes, image_size=[32, 64])


def chosen(scenes: Path, processes: int = 1, **train: Any) -> tuple[ResolvedTrain, list[str]]:
    """The options that a run on the animals has, and those that it chose."""
    model = {"backbone": "resnet10t", "decoder": "linear"}
    config = Config.from_raw({"data": str(scenes / "animals"), "model": model, "train": {**FAST, **train}})
    opened, val = open_split(config, "train"), open_split(config, "val")
    built = classifier(list(opened.labels["classify"].classes))
    resolved, made = make_choices(config, built, opened, val, Hardware("cpu", processes))
    return resolved.train, [choice.option for choice in made]


def test_a_run_records_its_choices(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"path": str(scenes / "animals"), "check": False}
    config = {"data": data, "model": {"backbone": "resnet10t", "decoder": "linear"}, "train": FAST}
    run = vertebra.train(config, out=tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    values = {choice["option"]: choice["value"] for choice in record["choices"]}
    train = yaml.safe_load((run / "config.yaml").read_text())["train"]
    assert values == {"augment": "default", "batch_size": 8, "epochs": 3, "evaluate_every": 1}
    assert (train["batch_size"], train["accumulate"], train["epochs"], train["evaluate_every"]) == (8, 1, 3, 1)
    assert train["recipe"] == "default" and train["augment"]["name"] == "default"
    printed = capsys.readouterr().err
    assert "chosen: epochs 3: about 6 steps are needed for 12 images, and an epoch has 2\n" in printed
    assert len(run.history) == 3
    resumed = vertebra.resume(run.folder, epochs=4)
    assert len(resumed.history) == 4
    assert "chosen:" not in capsys.readouterr().err
    again = json.loads((run / "run.json").read_text())
    assert again["choices"] == record["choices"] and len(again["starts"]) == 2
    with pytest.raises(RunError, match="train.recipe .it was default, now best. cannot change within a run"):
        vertebra.resume(run.folder, recipe="best")
    with pytest.raises(ConfigError, match="'train.epochs' must be a whole number, got null"):
        vertebra.resume(run.folder, epochs=None)


def test_a_pretrained_backbone_is_frozen_at_first(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = classifier
    monkeypatch.setitem(globals(), "classifier", lambda classes: _as_pretrained(plain(classes)))
    train, options = chosen(scenes)
    assert train.freeze_backbone == IMAGE_LEVEL_FROZEN_SHARE and train.backbone_lr == IMAGE_LEVEL_BACKBONE_LR
    assert "freeze_backbone" in options
    assert chosen(scenes, freeze_backbone=0.0)[0].freeze_backbone == 0.0
    frozen = {
        strategy: chosen(scenes, strategy=strategy)[0].freeze_backbone > 0
        for strategy in ("ddp_find_unused_parameters_true", "ddp", "fsdp")
    }
    assert frozen == {"ddp_find_unused_parameters_true": True, "ddp": False, "fsdp": False}

    def imported(classes: list[str]) -> Any:
        model = _as_pretrained(plain(classes))
        model.origin = {"source": "another library"}
        return model

    monkeypatch.setitem(globals(), "classifier", imported)
    assert chosen(scenes)[0].freeze_backbone == 0.0, "all of it is trained"


def _as_pretrained(model: Any) -> Any:
    model.backbone.pretrained = True
    model.backbone.weights_from = {"weights": "backbone.safetensors"}
    model.origin = dict(model.backbone.weights_from)  # as a model that is built on such a backbone has it
    return model


def test_what_is_set_is_kept(scenes: Path) -> None:
    train, options = chosen(scenes, epochs=5, batch_size=3, evaluate_every=2, augment="none")
    assert (train.epochs, train.batch_size, train.accumulate, train.evaluate_every) == (5, 3, 1, 2)
    assert options == []
    train, options = chosen(scenes, accumulate=2)
    assert (train.batch_size, train.accumulate) == (4, 2)
    train, _ = chosen(scenes, recipe="best", augment={"hue": 0.1})
    assert train.augment.name == "strong" and train.augment.options == {"hue": 0.1}
    assert train.epochs == 9
    assert chosen(scenes, recipe="fast")[0].augment.name == "light"


def test_a_step_is_over_all_processes(scenes: Path) -> None:
    train, _ = chosen(scenes, 2)
    assert (train.batch_size, train.accumulate, train.epochs) == (4, 1, 3)
    train, _ = chosen(scenes, 2, num_nodes=2)
    assert (train.batch_size, train.epochs) == (2, 3)


def test_memory_divides_the_step(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "fitting_images", lambda *given: (2, "only two fit"))
    train, options = chosen(scenes)
    assert (train.batch_size, train.accumulate) == (2, 4)
    assert options[1:3] == ["batch_size", "accumulate"]


def test_nothing_may_be_left_open() -> None:
    config = Config.from_raw({"data": "d", "model": {"backbone": "resnet10t", "decoder": "linear"}})
    with pytest.raises(ConfigError, match="'train.epochs' must be a whole number, got null"):
        resolved_config(config)
    with pytest.raises(ConfigError, match="'train.recipe' must be 'fast', 'default' or 'best', got \"quick\""):
        Config.from_raw({"data": "d", "model": {"decoder": "linear", "backbone": "x"}, "train": {"recipe": "quick"}})
    assert TrainConfig().epochs is None


def test_a_decoder_that_learns_slowly_is_named(scenes: Path) -> None:
    config = Config.from_raw({"data": str(scenes / "boxes"), "model": {"backbone": "resnet10t", "decoder": "detr"}})
    opened = open_split(config, "train")
    classes = list(opened.labels["detect"].classes)
    model = vertebra.create_model("resnet10t", decoder="detr", classes=classes, image_size=[32, 64])
    data = mixed(model_info(model), opened.sources, 0, None)
    assert few_images_notes(model, data, initialized=False) == [
        "branch 'detect': DETR learns slowly, and 12 training images are few for it without trained weights; take neck fpn and "
        "decoder retinanet, or start from a trained model (model.init_from, --from)"
    ]
    model.backbone.weights_from = model.origin = {"weights": "backbone.safetensors"}
    assert few_images_notes(model, data, initialized=False), "only the backbone is trained"
    assert few_images_notes(model, data, initialized=True) == []


def test_processes_that_chose_otherwise_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        world_size, device = 2, "cpu"

    callback = SameChoices(resolved_train(epochs=3, batch_size=4, accumulate=2))
    fake: Any = Fake()
    monkeypatch.setattr(choosing, "sum_over_processes", lambda values: 2 * values)
    callback.on_fit_start(fake, fake)
    monkeypatch.setattr(choosing, "sum_over_processes", lambda values: 2 * values + 1)
    with pytest.raises(RunError, match="have chosen different batch sizes"):
        callback.on_fit_start(fake, fake)
