"""A user's own modules give in prediction what they give when they are called, whatever they do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import vertebra
from tests.optimize.user_modules import MODULES
from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.features import FeatureSpec, Level
from vertebra.inference.engine import Engine
from vertebra.model import VisionModel

SIZES = [(64, 64), (73, 69), (40, 96)]


def model_of(body: nn.Module, image_size: tuple[int, int] = (64, 64)) -> VisionModel:
    """A model on a user's backbone."""
    backbone = vertebra.as_backbone(body, FeatureSpec((Level(8, 2),)))
    model = vertebra.create_model(backbone, decoder="fcn", classes=["a", "b"], image_size=image_size)
    return randomize(model).eval()  # type: ignore[return-value]


def made(name: str) -> VisionModel:
    torch.manual_seed(0)
    return model_of(MODULES[name]())


def pictures(count: int, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Dark and bright images in turns."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 128, (count, 3, *size), dtype=torch.uint8, generator=draw)
    images[seed % 2 :: 2] += 127
    return images, torch.tensor([size] * count)


@pytest.mark.parametrize("name", MODULES)
def test_a_users_module_predicts_what_it_computes(name: str) -> None:
    model = made(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    engine = Engine(model, device="cpu")
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items()), "the user's model stays as it is"
    for number, size in enumerate(SIZES):
        for count in (1, 2, 3, 5):
            images, sizes = pictures(count, size, number + count)
            with torch.inference_mode():
                expected = model(images, sizes)["segment"]
            found = engine.compute(images, sizes)["segment"]
            for ours, theirs in zip(found, expected, strict=True):
                if ours.is_floating_point():
                    assert relative_difference(ours, theirs) < 1e-4
