"""Fine-tuning keeps all weights of a trained model, except those that depend on changed classes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import vertebra
from vertebra.config import model_config
from vertebra.errors import ConfigError, UnknownName, WeightsError
from vertebra.weights.finetune import finetune_config, init_from


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    model = vertebra.create_model("resnet10t", neck="fpn", decoder="retinanet", classes=["dog", "cat"], image_size=64)
    return vertebra.save(model, tmp_path / "trained.safetensors")


@pytest.mark.parametrize(
    ("classes", "kept"), [(["dog", "cat"], True), (["red", "blue"], False), (["a", "b", "c"], False)]
)
def test_only_the_last_layers_begin_anew(trained: Path, classes: list[str], kept: bool) -> None:
    raw = finetune_config(trained)
    raw["branches"]["detect"]["classes"] = classes
    config = model_config(raw)
    torch.manual_seed(7)
    model = vertebra.build.build(config, image_size=64)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    lines = init_from(model, config)
    old = vertebra.load(trained).state_dict()
    last = "branches.detect.decoder.class_prediction."
    for name, value in model.state_dict().items():
        if name.startswith(last) and not kept:
            assert torch.equal(value, fresh[name]), name
        else:
            assert torch.equal(value, old[name]), name
    assert (len(lines) == 1) is kept
    if not kept:
        assert [re.sub(r"\d+ kept", "kept", line) for line in lines[1:]] == [
            "start: backbone: kept",
            "start: branches.detect.neck: kept",
            "start: branches.detect.decoder: kept, 2 newly initialized (class_prediction)",
        ]


def test_another_backbone_is_refused(trained: Path) -> None:
    raw = {**finetune_config(trained), "backbone": "resnet18"}
    raw["branches"]["detect"]["classes"] = ["a"]
    config = model_config(raw)
    with pytest.raises(
        ConfigError, match=r"has the backbone 'resnet10t', and this model 'resnet18', of whose 100 tensors \d+ fit"
    ):
        init_from(vertebra.build.build(config, image_size=64), config)


def test_a_narrower_backbone_is_cut_from_a_wider_one(tmp_path: Path) -> None:
    wide = {"backbone": "mobilenetv2_050", "neck": {"name": "fpn", "channels": 64}, "decoder": "fcos"}
    path = vertebra.save(
        vertebra.create_model(**wide, classes=["a", "b"], image_size=64), tmp_path / "wide.safetensors"
    )
    raw = finetune_config(path, "mobilenetv2_035")
    raw["branches"]["detect"] |= {"classes": ["a", "b"], "neck": {"name": "fpn", "channels": 32}}
    raw["branches"]["more"] = {"decoder": "linear", "classes": ["a", "b"]}
    config = model_config(raw)
    model = vertebra.build.build(config, image_size=64)
    lines = init_from(model, config)
    old, new = vertebra.load(path).state_dict(), model.state_dict()
    name = next(name for name, value in new.items() if value.shape != old[name].shape)
    rows = torch.arange(len(new[name])) * len(old[name]) // len(new[name])
    assert name.startswith("backbone.") and len(new[name]) < len(old[name])
    assert torch.equal(new[name], old[name][rows])
    counts = {line.split(": ")[1]: line.split(": ")[2] for line in lines[1:]}
    cut = [
        sum(name.startswith(part) and new[name].shape != old[name].shape for name in new if name in old)
        for part in counts
    ]
    assert "cut to fewer channels" in lines[0] and lines[0].startswith("start: ")
    assert f"{cut[0]} cut to fewer channels" in counts["backbone"] and "new" not in counts["backbone"]
    assert f"{cut[1]} cut to fewer channels" in counts["branches.detect.neck"]
    assert "newly initialized" in counts["branches.detect.decoder"]
    assert "cut" not in counts["branches.detect.decoder"] and "kept" not in counts["branches.more.decoder"]


def test_a_run_starts_from_a_model(
    trained: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"epochs": 1, "batch_size": 6, "image_size": [48, 64], "workers": 0, "precision": "32", "lr": 1e-9}
    run = vertebra.train(
        {"data": str(scenes / "boxes"), "model": finetune_config(trained), "train": options}, out=tmp_path / "run"
    )
    stderr = capsys.readouterr().err
    assert "2 newly initialized (class_prediction)" in stderr and str(trained) in stderr
    before, after = vertebra.load(trained), vertebra.load(run)
    torch.testing.assert_close(
        after.backbone.body.conv1[0].weight, before.backbone.body.conv1[0].weight, atol=1e-6, rtol=1e-6
    )
    assert "init_from" not in (after.config or {}) or after.config["init_from"] is None
    with pytest.raises(UnknownName):
        vertebra.train({"data": str(scenes / "boxes"), "model": {**finetune_config(trained), "backbone": "x"}})


def test_files_to_start_from_that_are_no_models(trained: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}}, checkpoint)
    with pytest.raises(
        WeightsError, match=r"not a Vertebra model; for a run, give its folder.*--pretrained last\.ckpt"
    ):
        finetune_config(checkpoint)
    with safe_open(trained, framework="pt") as file:
        header = json.loads(file.metadata()["vertebra"])
    del header["checksums"], header["model"]["backbone"]
    save_file(load_file(trained), tmp_path / "old.safetensors", metadata={"vertebra": json.dumps(header)})
    with pytest.raises(WeightsError, match=r"old\.safetensors: its header describes no model: .*backbone"):
        finetune_config(tmp_path / "old.safetensors")


def test_a_damaged_model_is_no_start(trained: Path, tmp_path: Path) -> None:
    data = bytearray(trained.read_bytes())
    data[-1] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(data)
    raw = finetune_config(tmp_path / "damaged.safetensors")
    raw["branches"]["detect"]["classes"] = ["dog", "cat"]
    config = model_config(raw)
    with pytest.raises(WeightsError, match="its checksum differs"):
        init_from(vertebra.build.build(config, image_size=64), config)
