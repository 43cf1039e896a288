"""Masks by predicted filters: what a network of an object computes, that it is learned, and that it is exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vertebra
from tests.daily_sample import daily_sample
from tests.decoders.instances.test_mask_rcnn import LABELS, SIDE, SPEC, TwoLevels, shapes
from vertebra.decoders.instances.condinst import CondInst, FilterController, filtered
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.export.export_model import export_model
from vertebra.features import FeatureSpec, Level, Proposals
from vertebra.losses.masks import dice_term
from vertebra.testing import check_decoder, fake_labels
from vertebra.testing.synthetic import fake_features, fake_proposals


def test_the_contract_with_other_options() -> None:
    options = {"channels": 8, "norm": "group", "convs": 1, "mask_channels": 3, "mask_size": 10, "levels": [1, 2]}
    check_decoder(lambda spec, labels: CondInst(spec, labels, **options), SPEC, fake_labels("instances"))  # type: ignore[arg-type]


def test_each_object_has_a_network_of_its_own() -> None:
    torch.manual_seed(0)
    controller = FilterController(4, 2, classes=3)
    assert controller.sizes == [2 * 4, 2, 2 * 2, 2, 2, 1]
    torch.nn.init.normal_(controller.filters.weight)
    filters = controller(torch.randn(2, 4, 7, 7), torch.tensor([2, -1]))
    cells = torch.randn(2, 2, 5, 5)
    logits = filtered(cells, filters)
    at = torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8])
    for row in range(2):
        values = torch.cat([cells[row], at.expand(1, 5, 5), at[:, None].expand(1, 5, 5)])
        for layer in range(3):
            weight, bias = filters[2 * layer][row], filters[2 * layer + 1][row]
            values = F.conv2d(values, weight.reshape(len(bias), -1, 1, 1), bias)
            values = values.relu() if layer < 2 else values
        torch.testing.assert_close(logits[row], values[0].flatten(), atol=1e-5, rtol=1e-5)


def test_a_network_depends_on_box_and_class_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    decoder = CondInst(SPEC, LABELS, channels=16).eval()
    torch.nn.init.normal_(decoder.filters.classes.weight)
    features, proposals = fake_features(SPEC, (SIDE, SIDE)), fake_proposals(LABELS, (SIDE, SIDE))
    with torch.no_grad():
        decoded = decoder.decode(decoder(features, proposals), features.frame)
        cut = Proposals(proposals.boxes[:, :3], proposals.scores[:, :3], proposals.labels[:, :3], proposals.count)
        few = decoder.decode(decoder(features, cut), features.frame)
        twin = decoder.decode(
            decoder(features, proposals._replace(labels=1 - proposals.labels.clamp(min=0))), features.frame
        )
    torch.testing.assert_close(decoded.masks[:, :3], few.masks)
    assert decoded.masks.shape[2:] == (28, 28) and not bool(decoded.masks[-1].any())
    assert not torch.allclose(decoded.masks[0, 0], twin.masks[0, 0])
    assert torch.equal(decoded.boxes, proposals.boxes) and torch.equal(decoded.labels, proposals.labels)


def test_dice_of_shares() -> None:
    shares = torch.rand(1, 3, 6, 6)
    known = torch.tensor([[True, True, False]])
    assert float(dice_term(shares.logit(), shares, known).sum) == pytest.approx(0, abs=1e-5)
    logits = torch.zeros(1, 1, 2, 2)  # probabilities of one half
    term = dice_term(logits, torch.tensor([[[[1.0, 1], [1, 0]]]]), torch.tensor([[True]]))
    assert float(term.sum) == pytest.approx(1 - 2 * 1.5 / (1 + 3)) and float(term.count) == 1


def test_parts_and_options_that_do_not_fit() -> None:
    with pytest.raises(IncompatiblePartsError, match="strides that divide each other"):
        CondInst(FeatureSpec((Level(8, 4), Level(8, 14))), LABELS)
    with pytest.raises(ConfigError, match="'mask_size' must be"):
        CondInst(SPEC, LABELS, mask_size=0)
    teacher = CondInst(SPEC, LABELS, channels=8, mask_size=14)
    decoder = CondInst(SPEC, LABELS, channels=8)
    features = fake_features(SPEC, (SIDE, SIDE))
    with pytest.raises(ConfigError, match="set its 'mask_size'"):
        decoder.distillation(decoder(features, fake_proposals(LABELS, (SIDE, SIDE))), teacher, features)


def test_learns_masks_with_holes() -> None:
    torch.manual_seed(0)
    images, targets, _ = shapes()
    backbone = TwoLevels()
    decoder = CondInst(FeatureSpec((Level(32, 4), Level(48, 8))), LABELS, channels=32, convs=2)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *decoder.parameters()], lr=3e-3)
    for _ in range(60):
        terms, _ = decoder.loss(backbone(images / 255), targets)
        optimizer.zero_grad()
        (terms["mask"].mean() + terms["dice"].mean()).backward()
        optimizer.step()
    with torch.no_grad():
        terms, outputs = decoder.eval().loss(backbone(images / 255), targets)
    assert float(terms["dice"].mean()) < 0.05
    assert not bool((outputs.logits[:, 1, 13:15, 13:15] > 0).any()), "the holes of the rings"


@pytest.mark.parametrize("name", daily_sample(["model.onnx", "model.xml", "model.pt2"], 1))
def test_a_file_has_the_same_masks(name: str, tmp_path: Path) -> None:
    if name == "model.xml":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    torch.manual_seed(0)
    model = vertebra.create_model(
        "test_resnet",
        neck={"name": "fpn", "channels": 16, "extra_levels": 0},
        decoder={"name": "condinst", "channels": 16, "convs": 1},
        boxes_from={"name": "fcos", "postprocess": {"max_detections": 8, "score_threshold": 0.0}},
        classes=["a", "b"],
        image_size=64,
    )
    assert list(model.branches) == ["detect", "instances"]
    report = export_model(model, tmp_path / name, input="canvas", canvas="fixed")
    assert max(report["differences"].values()) < 1e-4
    picture = np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)
    (ours,), (theirs,) = (each.predict([picture], threshold=0.0) for each in (vertebra.load(tmp_path / name), model))
    assert (ours["instances"].masks == theirs["instances"].masks).mean() > 0.999
