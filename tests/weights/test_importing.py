"""Reports, origins and errors of imports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

import vertebra
from vertebra.errors import ConfigError, UnknownName, WeightsError
from vertebra.weights.importing import import_with_report


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "resnet10t.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=3).state_dict(), path)
    return path


def test_an_import_survives_its_file(weights: Path, tmp_path: Path) -> None:
    model = vertebra.import_model("timm:resnet10t.c3_in1k", weights=weights)
    assert model.origin == {
        "source": "timm:resnet10t.c3_in1k",
        "license": "apache-2.0",
        "weights": "resnet10t.safetensors",
    }
    loaded = vertebra.load(vertebra.save(model, tmp_path / "model.safetensors"))
    assert loaded.origin == model.origin and loaded.resize_spec == model.resize_spec
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image)["classify"], model(image)["classify"])


def test_the_report_names_the_parts(weights: Path) -> None:
    _, report = import_with_report("timm:resnet10t", weights=weights)
    lines = report.lines()
    assert lines[0].startswith("backbone: ") and "tensors matched" in lines[0]
    assert lines[1] == "branches.classify.decoder: 2 of 2 tensors matched"
    assert lines[2] == "left over: nothing"


def test_what_is_missing_is_an_error(weights: Path, tmp_path: Path) -> None:
    state = timm.create_model("resnet10t", num_classes=3).state_dict()
    for name in ("conv1.0.weight", "layer2.0.bn1.bias"):
        del state[name]
    state["extra"] = torch.zeros(1)
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(
        WeightsError, match=r"not those of this model; backbone: .*2 missing \(backbone.body.conv1.0.weight"
    ):
        vertebra.import_model("timm:resnet10t", weights=tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    ("source", "make"),
    [
        ("timm:resnet10t", lambda: timm.create_model("resnet10t", num_classes=3)),
        ("torchvision:mobilenet_v3_small", lambda: torchvision.models.mobilenet_v3_small(num_classes=3)),
    ],
)
def test_weights_of_other_trainers(source: str, make: Callable[[], torch.nn.Module], tmp_path: Path) -> None:
    theirs = make()
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {f"net.{name}": value for name, value in theirs.state_dict().items()}}, path)
    model, report = import_with_report(source, weights=path)
    assert report.lines()[0] == "weights under 'state_dict.net.'" and not report.leftover
    first = next(iter(theirs.state_dict().values()))
    assert any(torch.equal(first, value) for value in model.state_dict().values())
    torch.save({"student": theirs.state_dict(), "teacher": theirs.state_dict()}, path)
    lines = import_with_report(source, weights=path)[1].lines()
    assert lines[0] == "weights under 'teacher.'; 'student.' would fit as well"


def test_weights_of_another_model_end_in_one_line(tmp_path: Path) -> None:
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not those of this model .without 'head.classification_head"):
        vertebra.import_model("torchvision:retinanet_resnet50_fpn", weights=tmp_path / "other.safetensors")


def test_wrong_sources() -> None:
    with pytest.raises(ConfigError, match="'resnet18' is not a source; write LIBRARY:NAME"):
        vertebra.import_model("resnet18")
    with pytest.raises(UnknownName, match="unknown library 'tourchvision'. Did you mean 'torchvision'"):
        vertebra.import_model("tourchvision:resnet18")
    with pytest.raises(UnknownName, match="unknown torchvision model 'resnet19'"):
        vertebra.import_model("torchvision:resnet19")
    with pytest.raises(UnknownName, match="unknown backbone 'resnet51'"):
        vertebra.import_model("timm:resnet51", weights="none.safetensors")


def test_downloads_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", offline)
    with pytest.raises(
        WeightsError, match=r"weights of torchvision:resnet18 cannot be downloaded .*no network.*--weights"
    ):
        vertebra.import_model("torchvision:resnet18")


def test_a_folder_needs_its_config(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config.json: not readable as JSON"):
        vertebra.import_model(f"transformers:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="no safetensors file beside config.json"):
        vertebra.import_model(f"transformers:{tmp_path}")
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="transformers model type 'bert' is not supported"):
        vertebra.import_model(f"transformers:{tmp_path}")
