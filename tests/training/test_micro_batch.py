"""The micro batch is the largest that fits into memory, and its trial changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vertebra import create_model
from vertebra.config import TrainConfig
from vertebra.data.open import open_data
from vertebra.data.samples import MixedData
from vertebra.data.sources import Source
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.training import micro_batch
from vertebra.training.loaders import mixed
from vertebra.training.micro_batch import StepMemory, fitting_images, step_memory, weight_bytes

CPU = torch.device("cpu")
RECIPE = TrainConfig(image_size=[32, 64], precision="32", accelerator="cpu")


@pytest.fixture(scope="module")
def model(scenes: Path) -> VisionModel:
    classes = open_data(scenes / "boxes", "detect", "train").labels["detect"].classes
    return create_model("resnet10t", neck="fpn", decoder="fcos", classes=list(classes), image_size=[32, 64])


@pytest.fixture(scope="module")
def data(scenes: Path, model: VisionModel) -> MixedData:
    index = open_data(scenes / "boxes", "detect", "train")
    return mixed(model_info(model), [Source(index, {"detect": "detect"})], 0, None)


@pytest.fixture(scope="module")
def memory(model: VisionModel, data: MixedData) -> StepMemory:
    measured = step_memory(model, data, "32-true", CPU)
    assert measured is not None
    return measured


def test_the_trial_leaves_the_model_and_the_random_state(model: VisionModel, data: MixedData) -> None:
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    assert step_memory(model, data, "bf16-mixed", CPU) is not None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert not model.training and all(weight.grad is None for weight in model.parameters())


def test_memory_grows_with_the_images(memory: StepMemory, model: VisionModel, data: MixedData) -> None:
    activations = 32 * 64 * 4 * micro_batch.ACTIVATION_FACTOR
    assert 10 * activations < memory.per_image < 1000 * activations
    assert memory.of(4) - memory.of(2) == 2 * memory.per_image
    weights = sum(weight.nbytes for weight in model.parameters())
    frozen = sum(weight.nbytes for weight in model.parameters() if not weight.requires_grad)
    assert weight_bytes(model, average=False) == 4 * weights - 3 * frozen
    assert weight_bytes(model, average=True) == 5 * weights - 3 * frozen


@pytest.mark.parametrize(("fitting", "images"), [(8, 8), (7, 4), (2, 2), (1, 1), (0, 1)])
def test_the_largest_divisor_that_fits(
    fitting: int,
    images: int,
    memory: StepMemory,
    model: VisionModel,
    data: MixedData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = weight_bytes(model, average=True) + memory.of(fitting)
    monkeypatch.setattr(micro_batch, "step_memory", lambda *given: memory)
    size, reason = fitting_images(model, data, RECIPE, 8, CPU, budget)
    assert size == images
    assert reason.startswith(f"of 8 images a step {images} at a time fit into memory: ") == (images < 8)


def test_no_trial_where_the_step_fits_anyway(
    model: VisionModel, data: MixedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(micro_batch, "step_memory", lambda *given: pytest.fail("a trial"))
    assert fitting_images(model, data, RECIPE, 8, CPU, 10**12) == (8, "")
    assert fitting_images(model, data, RECIPE, 8, CPU, None) == (8, "")
