"""Any part on any other: it runs and learns, or it fails at build with a message that names the cure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch

from vertebra.errors import JointError
from vertebra.testing.matrix import REPRESENTATIVES, Combination, assemble, combinations
from vertebra.testing.synthetic import made_targets

SIZES = ((64, 64), (97, 65))


@lru_cache(maxsize=1)
def backbone(name: str) -> Any:
    from vertebra.backbones import TimmBackbone

    torch.manual_seed(0)
    return TimmBackbone(name, image_size=(64, 64))


def learn(combination: Combination, canvas: tuple[int, int]) -> None:
    model = assemble(combination, backbone(combination.backbone)).train()
    model.zero_grad(set_to_none=True)
    images = torch.randint(0, 256, (2, 3, *canvas), dtype=torch.uint8)
    (name,) = model.branches
    targets = made_targets(model.branch(name).labels, canvas)
    terms, _ = model.loss(images, torch.tensor([canvas] * 2), {name: (torch.arange(2), targets)})
    total = torch.stack([term.mean() for term in terms[name].values()]).sum()
    assert torch.isfinite(total)
    total.backward()
    without = [key for key, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not without, f"{combination}: no gradient reaches {without[:5]}"


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_every_combination_learns_or_names_the_cure(name: str) -> None:
    fitting = 0
    for number, combination in enumerate(combinations((name,))):
        canvas = backbone(name).fixed_size or SIZES[number % 2]
        try:
            learn(combination, canvas)
            fitting += 1
        except JointError as error:
            text = str(error)
            assert f"backbone '{name}'" in text or f"neck '{combination.neck}'" in text or "encoder" in text, text
            assert " needs " in text and text.count(". ") >= 1, text
    assert fitting >= 20


def test_the_table_tells_what_fits() -> None:
    from vertebra.testing.matrix import fit_table

    rows = fit_table(("test_vit", "resnet10t"))
    assert len(rows) == len(list(combinations(("test_vit", "resnet10t"))))
    refused = next(row for row in rows if row[:4] == ("test_vit", None, None, "deeplabv3plus"))
    assert "Add neck 'simple_pyramid'" in refused.error
    assert any(row.backbone == "resnet10t" and row.neck == "fpn" and not row.error for row in rows)
