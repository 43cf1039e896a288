"""Source and license of weights stay with a model through training and its files; local paths stay out of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import vertebra
from tests.resolved import resolved_train
from vertebra.backbones import TimmBackbone
from vertebra.build import build
from vertebra.config import model_config
from vertebra.report.model_summary import model_summary_text, summarize_model
from vertebra.training.step import TrainingModule
from vertebra.weights.finetune import finetune_config
from vertebra.weights.model_file import describe

RECIPE = {"epochs": 1, "batch_size": 6, "image_size": [48, 64], "workers": 0, "precision": "32"}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "secret folder" / "resnet10t.safetensors"
    path.parent.mkdir()
    save_file(timm.create_model("resnet10t", num_classes=2).state_dict(), path)
    return path


def header_of(path: Path) -> str:
    with safe_open(path, framework="pt") as file:
        return str(file.metadata()["vertebra"])


def test_they_survive_training_from_an_import(weights: Path, scenes: Path, tmp_path: Path) -> None:
    imported = vertebra.import_model("timm:resnet10t.c3_in1k", weights=weights)
    origin = {"source": "timm:resnet10t.c3_in1k", "license": "apache-2.0", "weights": "resnet10t.safetensors"}
    assert imported.origin == origin
    path = vertebra.save(imported, tmp_path / "secret folder" / "imported.safetensors")
    raw: dict[str, Any] = {"data": str(scenes / "animals"), "model": finetune_config(path), "train": dict(RECIPE)}
    run = vertebra.train(raw, out=tmp_path / "run")
    loaded = vertebra.load(run)
    assert loaded.origin == origin
    assert "secret folder" not in header_of(run / "model.safetensors")
    trained = TimmBackbone("resnet10t", pretrained=str(run / "last.ckpt"))  # a run's own checkpoint, with its average
    assert "84 of 84 tensors matched under 'state_dict.average.model.backbone.body.'" in trained.origin
    torch.testing.assert_close(trained.body.state_dict(), loaded.backbone.body.state_dict(), rtol=0, atol=0)
    text = model_summary_text(summarize_model(loaded))
    assert (
        "weights: from timm:resnet10t.c3_in1k (file resnet10t.safetensors); license of the published ones: apache-2.0"
        in text
    )


def test_a_run_that_is_resumed_knows_them(weights: Path) -> None:
    """A resumed run does not read the initial weights again, whose file may be gone."""
    model = vertebra.import_model("timm:resnet10t", weights=weights)
    checkpoint: dict[str, Any] = {}
    TrainingModule(model, resolved_train(), pretrained=True).on_save_checkpoint(checkpoint)
    config = model_config(model.config or {})
    resumed = TrainingModule(build(config, image_size=64, pretrained=False), resolved_train(), pretrained=True)
    resumed.on_load_checkpoint(checkpoint)
    assert resumed.best_model is not resumed.model
    assert resumed.model.origin == resumed.best_model.origin == model.origin


def test_timms_own_source_and_license(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **more: create(name, pretrained=False, **more))
    model = vertebra.create_model({"name": "resnet10t", "pretrained": True}, decoder="linear", classes=["a", "b"])
    assert model.origin == {"source": "timm:resnet10t.c3_in1k", "license": "apache-2.0"}
    assert describe(model)["origin"] == model.origin
    other = vertebra.create_model("resnet10t", decoder="linear", classes=["a", "b"])
    assert other.origin == {} and "origin" not in describe(other)


def test_no_place_of_this_machine_is_in_a_file(weights: Path, tmp_path: Path) -> None:
    backbone = {"name": "resnet10t", "pretrained": str(weights), "args": {"pretrained_cfg": {"file": str(weights)}}}
    model = vertebra.create_model(backbone, decoder="linear", classes=["/m/01g317", "b"], image_size=64)
    assert model.origin == {"weights": "resnet10t.safetensors"}
    assert "secret folder" not in json.dumps(model.config) and "secret folder" not in model.backbone.origin
    text = header_of(vertebra.save(model, tmp_path / "model.safetensors"))
    assert "secret folder" not in text and str(tmp_path) not in text
    assert vertebra.load(tmp_path / "model.safetensors").branch("classify").labels.classes == ("/m/01g317", "b")
    assert "weights: from resnet10t.safetensors; license: not stated" in model_summary_text(summarize_model(model))


def test_a_folders_own_license_and_name(tmp_path: Path) -> None:
    from vertebra.weights.importing import _stated_license

    (tmp_path / "README.md").write_text("---\nlibrary: x\nlicense: cc-by-4.0\ntags:\n- a\n---\n# license: mit\n")
    assert _stated_license(tmp_path) == "cc-by-4.0"
    (tmp_path / "README.md").write_text("# Model\nlicense: mit\n")
    assert _stated_license(tmp_path) == ""


@pytest.mark.parametrize("prefix", ["", "model.", "module.encoder_q."])
def test_torchvisions_names_under_a_prefix(tmp_path: Path, prefix: str) -> None:
    import torchvision

    theirs = torchvision.models.mobilenet_v2(num_classes=2)
    state = {prefix + name: value for name, value in theirs.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    backbone = TimmBackbone("mobilenetv2_100", pretrained=str(tmp_path / "w.pth"))
    assert torch.equal(backbone.body.conv_stem.weight, theirs.features[0][0].weight)
    assert f"tensors matched under 'state_dict.{prefix}'" in backbone.origin
