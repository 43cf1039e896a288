"""Model files: they hold the whole model, and other files are refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import vertebra
from vertebra.errors import ConfigError, RunError, WeightsError
from vertebra.weights.model_file import identity


@pytest.fixture(scope="module")
def model() -> vertebra.VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model(
        {"name": "test_vit", "freeze": 1},
        neck="simple_pyramid",
        encoder={"name": "transformer", "depth": 1},
        decoder="deeplabv3plus",
        classes=["Straße", "개"],
        image_size=(64, 96),
        resize="resize",
    ).eval()


@pytest.fixture(scope="module")
def file(model: vertebra.VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vertebra.save(model, tmp_path_factory.mktemp("models") / "model.safetensors")


def test_a_file_is_the_whole_model(model: vertebra.VisionModel, file: Path) -> None:
    again = vertebra.load(file)
    assert again.config == model.config
    assert again.resize_spec == model.resize_spec
    assert again.branch("segment").labels == model.branch("segment").labels
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(images)["segment"].probabilities, model(images)["segment"].probabilities)
    assert identity(again) == identity(model)


def test_the_header_is_one_entry_of_canonical_json(file: Path) -> None:
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert set(metadata) == {"vertebra"}
    header = json.loads(metadata["vertebra"])
    assert set(header) == {"checksums", "format_version", "model", "preprocess"}
    assert metadata["vertebra"] == json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def small() -> Any:
    return vertebra.create_model("test_resnet", decoder="fcn", neck="fpn", classes=["a", "b"], image_size=64)


def weight_norm(model: Any) -> None:
    nn.utils.parametrizations.weight_norm(next(part for part in model.modules() if isinstance(part, nn.Conv2d)))


def other_backbone(model: Any) -> None:
    model.backbone = vertebra.create_model("test_vit", decoder="linear", classes=["a", "b"], image_size=64).backbone


def other_classifier(model: Any) -> None:
    decoder = model.branch("segment").decoder
    decoder.classifier[1] = nn.Conv2d(64, 5, 1)


def other_decoder(model: Any) -> None:
    model.branch("segment").decoder = nn.Conv2d(3, 3, 1)


def second_branch(model: Any) -> None:
    model.branches["second"] = copy.deepcopy(model.branch("segment"))


def optimized_in_place(model: Any) -> None:
    vertebra.Predictor(model, inplace=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (weight_norm, r"1 missing \(backbone.*\.weight\), 2 left over \(.*parametrizations"),
        (other_backbone, r"missing .*left over"),
        (other_classifier, r"has the shape \(5,"),
        (other_decoder, r"missing .*left over"),
        (second_branch, "it has the branches segment, second, and its config has segment"),
        (optimized_in_place, "missing"),
    ],
)
def test_a_changed_model_that_could_not_be_loaded_is_not_saved(
    change: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    model = small()
    change(model)
    with pytest.raises(WeightsError, match=f"{message}.*build the changed model with .*create_model"):
        model.save(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="this model cannot be trained: .*create_model"):
        model.fit(tmp_path, epochs=1, out=tmp_path / "run")
    assert not any(tmp_path.iterdir())


def test_saving_draws_no_random_numbers(tmp_path: Path) -> None:
    model = small()
    before = torch.random.get_rng_state()
    model.save(tmp_path / "model.safetensors")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_is_overwritten(model: vertebra.VisionModel, file: Path) -> None:
    with pytest.raises(RunError, match="exists, and nothing is overwritten"):
        vertebra.save(model, file)


def test_a_file_that_is_cut_off(file: Path, tmp_path: Path) -> None:
    for length in (0, 5, 1000, file.stat().st_size - 10):
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes(file.read_bytes()[:length])
        with pytest.raises(WeightsError, match=r"cut\.safetensors: truncated or not a safetensors file"):
            vertebra.load(cut)


def test_files_that_are_no_model(tmp_path: Path, file: Path) -> None:
    with pytest.raises(RunError, match="no such run folder or model file"):
        vertebra.load(tmp_path / "nothing.safetensors")
    with pytest.raises(RunError, match=r"has no model\.safetensors"):
        vertebra.load(tmp_path)
    plain = tmp_path / "plain.safetensors"
    save_file({"weight": torch.zeros(1)}, plain)
    with pytest.raises(WeightsError, match="not a Vertebra model .*pretrained: plain.safetensors"):
        vertebra.load(plain)
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    with pytest.raises(WeightsError, match="truncated or not a safetensors file"):
        vertebra.load(text)


def rewritten(file: Path, target: Path, **changes: object) -> Path:
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["vertebra"])
    del header["checksums"]  # like a file of a version without checksums
    save_file(load_file(file), target, metadata={"vertebra": json.dumps({**header, **changes})})
    return target


def test_headers_that_cannot_be_used(file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has format 99, but this Vertebra reads format 2; upgrade"):
        vertebra.load(rewritten(file, tmp_path / "a.safetensors", format_version=99))
    with pytest.raises(WeightsError, match=r"older Vertebra \(format 1\), but this one reads format 2; train"):
        vertebra.load(rewritten(file, tmp_path / "old.safetensors", format_version=1))
    with pytest.raises(WeightsError, match="cannot be built here: .*'model.backbone' is missing"):
        vertebra.load(rewritten(file, tmp_path / "b.safetensors", model={"branches": {}}))
    with pytest.raises(WeightsError, match="a preprocessing specification needs"):
        vertebra.load(rewritten(file, tmp_path / "c.safetensors", preprocess={}))


def test_a_file_with_other_tensors(file: Path, tmp_path: Path) -> None:
    with safe_open(rewritten(file, tmp_path / "old.safetensors"), framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    tensors["stranger"] = tensors.pop(next(iter(tensors)))
    save_file(tensors, tmp_path / "other.safetensors", metadata=metadata)
    with pytest.raises(WeightsError, match="1 missing .* 1 left over"):
        vertebra.load(tmp_path / "other.safetensors")


def test_a_model_that_names_no_parts_is_not_saved(tmp_path: Path) -> None:
    built = vertebra.create_model("resnet10t", decoder="unet", classes=["a", "b"], image_size=64)
    model = vertebra.VisionModel(built.backbone, {"segment": built.branch("segment")}, built.resize_spec)
    with pytest.raises(WeightsError, match="has no config; build it with vertebra.create_model"):
        vertebra.save(model, tmp_path / "x.safetensors")


def test_changed_options_of_decoding_are_kept(tmp_path: Path) -> None:
    detector = vertebra.create_model("resnet10t", decoder="fcos", classes=["a"], image_size=64)
    decoder = detector.branch("detect").decoder
    decoder.postprocess = replace(decoder.postprocess, nms_iou=0.9, max_detections=30)
    again = vertebra.load(vertebra.save(detector, tmp_path / "model.safetensors"))
    assert again.branch("detect").decoder.postprocess == decoder.postprocess


def test_reading_draws_no_random_weights(tmp_path: Path) -> None:
    model = vertebra.create_model("resnet10t", neck="fpn", decoder="fcos", classes=["a", "b"], image_size=(32, 32))
    path = vertebra.save(model, tmp_path / "model.safetensors")
    before = torch.get_rng_state()
    loaded = vertebra.load(path)
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_how_a_model_was_made_stays_in_its_file(model: vertebra.VisionModel, tmp_path: Path) -> None:
    provenance = {"vertebra": "0.1", "data": {"fingerprint": "00ff", "images": 12}, "lr": 0.001, "size": (64, 96)}
    made = copy.deepcopy(model)
    made.provenance = provenance
    loaded = vertebra.load(vertebra.save(made, tmp_path / "first.safetensors"))
    assert loaded.provenance == {**provenance, "size": [64, 96]}
    assert identity(loaded) == identity(model)
    again = vertebra.load(vertebra.save(loaded, tmp_path / "again.safetensors"))
    assert again.provenance == loaded.provenance
    with pytest.raises(WeightsError, match="plain JSON values only: .*Path"):
        made.provenance = {"data": Path("x")}
        vertebra.save(made, tmp_path / "other.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.safetensors", "first.safetensors"]
