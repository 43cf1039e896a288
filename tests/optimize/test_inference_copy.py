"""The copy that predicts says the same as the model, and nothing that was done to the model escapes it."""

from __future__ import annotations

import copy
import dataclasses
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vertebra
from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.errors import ConfigError
from vertebra.inference.io.prefetch import prefetch
from vertebra.inference.predictor import Predictor
from vertebra.model import VisionModel
from vertebra.optimize.inference_copy import optimized_copy
from vertebra.parts import describe, find, names
from vertebra.testing.synthetic import fake_fields, fake_proposals

SIZE = (96, 128)
NORMS = nn.modules.batchnorm._BatchNorm


def made(backbone: str, decoder: str, **parts: Any) -> VisionModel:
    torch.manual_seed(0)
    task = describe("decoder", decoder).task
    assert task is not None
    branch = {"decoder": decoder, "classes": ["a", "b"], **fake_fields(task), **parts}
    branches = {"only": branch}
    if getattr(find("decoder", decoder), "needs", None) == "boxes":
        branches = {"only": {**branch, "boxes_from": "boxes"}, "boxes": {"decoder": "fcos", "classes": ["a", "b"]}}
    model = vertebra.create_model(backbone, branches=branches, image_size=SIZE)
    return randomize(model).eval()


def raw(model: VisionModel, images: Tensor) -> list[Tensor]:
    branch = model.branch("only")
    torch.manual_seed(1)  # the same boxes for each model
    boxes = () if branch.boxes_from is None else (fake_proposals(branch.labels, SIZE, len(images)),)
    outputs = branch.decoder(branch.prepare(model.features(images)), *boxes)
    return [value for value in outputs if isinstance(value, Tensor) and value.is_floating_point()]


@torch.no_grad()
def same(model: VisionModel) -> VisionModel:
    fast = optimized_copy(model)
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    for ours, theirs in zip(raw(fast, images), raw(model, images), strict=True):
        assert relative_difference(ours, theirs) < 2e-5
    return fast


@pytest.mark.parametrize(
    ("backbone", "left"),
    [
        ("resnet10t", 0),
        ("mobilenetv3_small_050", 0),
        ("efficientnet_lite0", 1),  # behind the maps; it is not run
        ("regnetx_002", 0),
        ("vgg11_bn", 0),
        ("densenet121", 62),  # norms before convolutions
        ("convnext_atto", 0),
        ("test_vit", 0),
    ],
)
def test_every_kind_of_backbone_says_the_same(backbone: str, left: int) -> None:
    fast = same(made(backbone, "upsample" if backbone == "test_vit" else "fcn"))
    assert sum(isinstance(module, NORMS) for module in fast.modules()) == left


@pytest.mark.parametrize("decoder", names("decoder"))
def test_every_decoder_says_the_same(decoder: str) -> None:
    same(made("resnet10t", decoder))


def test_the_model_stays_as_it_is() -> None:
    model = made("resnet10t", "retinanet", neck="fpn").train()
    before = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    fast = optimized_copy(model)
    assert model.training and not fast.training
    after = model.state_dict()
    assert before.keys() == after.keys()
    for name, (value, stride) in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
        assert after[name].stride() == stride


def test_predictions_follow_the_model() -> None:
    model = made("resnet10t", "retinanet", neck="fpn")
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)

    def scores() -> np.ndarray:
        (result,) = model.predict(image, threshold=0.0)
        found: np.ndarray = result["only"].scores
        return found

    first = scores()
    (engine,) = model._engines.engines
    np.testing.assert_array_equal(scores(), first)
    model.predict(image, threshold=0.7, batch_size=2)
    assert model._engines.engines == [engine], "an unchanged model is not prepared again"
    with torch.no_grad():
        for value in model.branch("only").decoder.parameters():
            value.mul_(0.5)
    assert not np.array_equal(scores(), first)
    decoder: Any = model.branch("only").decoder
    decoder.postprocess = dataclasses.replace(decoder.postprocess, max_detections=2)
    assert len(scores()) == 2
    assert len(copy.deepcopy(model)._engines) == 0 and len(model._engines) == 1


def test_a_model_made_in_inference_mode_is_prepared_each_time() -> None:
    with torch.inference_mode():
        model = made("resnet10t", "linear")
    model.predict(np.zeros((40, 40, 3), dtype=np.uint8))
    assert len(model._engines) == 0


@pytest.mark.parametrize(
    ("backbone", "decoder"), [("resnet10t", "retinanet"), ("test_vit", "upsample"), ("resnet10t", "detr")]
)
def test_half_precision_is_near(backbone: str, decoder: str) -> None:
    model = made(backbone, decoder)
    fast = Predictor(model, precision="bf16", device="cpu")
    held = {
        value.dtype for module in fast.model.modules() if isinstance(module, nn.Conv2d) for value in module.parameters()
    }
    assert held == {torch.bfloat16}
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        near = raw(fast.model, images)
        decoded = fast.model(images)["only"]
    for ours, theirs in zip(near, raw(model, images), strict=True):
        assert relative_difference(ours.float(), theirs.detach()) < 0.1
    assert {value.dtype for value in decoded if value.is_floating_point()} == {torch.float32}


def test_no_half_precision_where_it_is_slow() -> None:
    with pytest.raises(ConfigError, match="take bf16"):
        Predictor(made("resnet10t", "linear"), precision="fp16", device="cpu")


def test_work_is_done_ahead_in_order_and_within_bounds() -> None:
    taken: list[int] = []
    gate = threading.Event()

    def items() -> Any:
        for number in range(100):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 0:
            gate.wait(5)
        if number == 7:
            raise ValueError("seven")
        return number * number

    results = prefetch(work, items(), threads=2, max_pending=4)
    gate.set()
    assert [next(results) for _ in range(7)] == [number * number for number in range(7)]
    with pytest.raises(ValueError, match="seven"):
        next(results)
    assert max(taken) <= 7 + 4


def test_a_model_that_is_not_kept_becomes_the_copy() -> None:
    torch.manual_seed(0)
    model = vertebra.create_model("resnet10t", decoder="linear", classes=["a", "b"], image_size=(32, 32)).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(images)["classify"].probabilities
        fast = optimized_copy(model, inplace=True)
        assert fast is model and not any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
        torch.testing.assert_close(fast(images)["classify"].probabilities, expected, rtol=1e-5, atol=1e-6)
