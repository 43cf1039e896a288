"""Imported segmentation models of torchvision have equal logits and masks, at odd sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.layers.resample import fit_to
from vertebra.weights.importing import assemble
from vertebra.weights.peers.torchvision_segmentation import BUILDERS, NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if "101" not in name])
@pytest.mark.parametrize("aux", [False, True])
@torch.no_grad()
def test_equal_masks(name: str, aux: bool) -> None:
    if aux and name.startswith("lraspp"):
        pytest.skip("torchvision's LR-ASPP has no auxiliary classifier")
    options: dict[str, Any] = {} if name.startswith("lraspp") else {"aux_loss": aux}
    peer = randomize(torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=7, **options))
    model, report = assemble(BUILDERS[name](name, peer.state_dict()))
    assert not report.leftover
    images = torch.randint(0, 256, (2, 3, 97, 161), dtype=torch.uint8)
    theirs = peer((images.float() - model.backbone.mean) / model.backbone.std)
    branch = model.branch("segment")
    features = branch.prepare(model.features(images))
    outputs = branch.decoder(features)
    logits = fit_to(outputs.logits, (97, 161), branch.decoder.stride, branch.decoder.fit)
    assert relative_difference(logits, theirs["out"]) < 1e-4
    probabilities = model(images)["segment"].probabilities
    assert torch.equal(probabilities.argmax(1), theirs["out"].argmax(1))
    if aux:
        side = fit_to(branch.decoder.auxiliary(features), (97, 161), branch.decoder.auxiliary.stride, "size")
        assert relative_difference(side, theirs["aux"]) < 1e-4


def test_classes_and_preprocessing() -> None:
    peer = torchvision.models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None)
    model, _ = assemble(BUILDERS["lraspp_mobilenet_v3_large"]("lraspp_mobilenet_v3_large", peer.state_dict()))
    classes = model.branch("segment").labels.classes
    assert len(classes) == 21 and classes[:2] == ("background", "aeroplane")
    assert model.resize_spec.transform(375, 500).canvas == (520, 693)
