"""Any part on any other: it runs and learns, or it fails at build with a message that names the cure.

Every day another sample of the combinations is tried; ``make matrix`` tries them all.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest
import torch

from tests.daily_sample import SEED, WHOLE
from vertebra.errors import IncompatiblePartsError
from vertebra.parts import names
from vertebra.testing.matrix import REPRESENTATIVES, Combination, assemble, combinations, fit_table
from vertebra.testing.synthetic import fake_targets

SIZES = ((64, 64), (97, 65))


def sample(seed: int, backbones: Sequence[str] = REPRESENTATIVES) -> list[Combination]:
    """Some of the combinations: half of the decoders on each backbone, with necks and encoders drawn at random.

    Half of the draws have no neck, or no encoder, so that decoders often get the backbone's own features.
    """
    draw = random.Random(seed)
    necks, encoders = names("neck"), names("encoder")

    def some(parts: list[str]) -> str | None:
        return draw.choice(parts) if draw.random() < 0.5 else None

    decoders = names("decoder")
    pairs = [(backbone, name) for backbone in backbones for name in draw.sample(decoders, (len(decoders) + 1) // 2)]
    return sorted((Combination(backbone, some(necks), some(encoders), decoder) for backbone, decoder in pairs), key=str)


@lru_cache(maxsize=1)
def backbone(name: str) -> Any:
    from vertebra.backbones import TimmBackbone

    torch.manual_seed(0)
    return TimmBackbone(name, image_size=(64, 64))


def learn(combination: Combination, canvas: tuple[int, int]) -> None:
    model = assemble(combination, backbone(combination.backbone)).train()
    model.zero_grad(set_to_none=True)
    images = torch.randint(0, 256, (2, 3, *canvas), dtype=torch.uint8)
    rows = torch.arange(2)
    targets = {name: (rows, fake_targets(model.branch(name).labels, canvas)) for name in model.branches}
    terms, _ = model.loss(images, torch.tensor([canvas] * 2), targets)
    total = torch.stack([term.mean() for own in terms.values() for term in own.values()]).sum()
    assert torch.isfinite(total)
    total.backward()
    unused = model.unused_parameters()  # trainable where another combination on this backbone needs them
    learning = {key: value for key, value in model.named_parameters() if value.requires_grad and key not in unused}
    without = [key for key, value in learning.items() if value.grad is None]
    assert not without, f"{combination}: no gradient reaches {without[:5]}"


@pytest.mark.daily_sample
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_every_combination_learns_or_names_the_cure(name: str) -> None:
    chosen = list(combinations((name,))) if WHOLE else sample(SEED, (name,))
    fitting = 0
    for number, combination in enumerate(chosen):
        canvas = backbone(name).fixed_size or SIZES[number % 2]
        try:
            learn(combination, canvas)
            fitting += 1
        except IncompatiblePartsError as error:
            text = str(error)
            assert f"backbone '{name}'" in text or f"neck '{combination.neck}'" in text or "encoder" in text, text
            assert " needs " in text and text.count(". ") >= 1, text
        except Exception as error:
            raise AssertionError(f"{combination}: {error}") from error
    assert fitting >= len(chosen) // 8


def test_a_sample_is_the_same_for_the_same_seed_and_has_every_decoder() -> None:
    first, again, other = sample(1), sample(1), sample(2)
    assert first == again != other
    assert {row.decoder for row in first} == set(names("decoder"))
    assert {row.backbone for row in first} == set(REPRESENTATIVES)


def test_the_table_tells_what_fits() -> None:
    asked = [
        Combination("test_vit", None, None, "deeplabv3plus"),
        Combination("test_vit", "simple_pyramid", None, "deeplabv3plus"),
        Combination("resnet10t", "fpn", "aspp", "unet"),
    ]
    rows = fit_table(("test_vit", "resnet10t"), asked)
    assert [row._replace(error="") for row in rows] == asked
    assert "Add neck 'simple_pyramid'" in rows[0].error and not rows[1].error and not rows[2].error
