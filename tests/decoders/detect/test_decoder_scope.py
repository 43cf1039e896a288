"""Detectors and images in which only some classes are annotated."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from vertebra.decoders import DECODERS
from vertebra.decoders.base import AnyDecoder
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.testing.synthetic import fake_targets

CLASSES = 7
LABELS = DetectLabels(tuple("abcdefg"))
SPEC = FeatureSpec((Level(16, 8), Level(16, 16), Level(16, 32)))
PRESENT = [0, 1]  # the classes of the objects
HIDDEN = [4, 5, 6]
NAMES = [name for name, each in sorted(DECODERS.items()) if each.task == "detect"]
OPTIONS = {
    "rt_detr": {"queries": 20, "layers": 2, "embed_dim": 32},
    "detr": {"queries": 5, "layers": 2, "embed_dim": 32},
}


def build(name: str) -> AnyDecoder:
    torch.manual_seed(0)
    decoder: AnyDecoder = DECODERS[name](SPEC, LABELS, **OPTIONS.get(name, {}))
    return decoder.train()


def batch() -> tuple[Features, DetectTargets]:
    """Two images with an object each of the two present classes, and one without objects."""
    draw = torch.Generator().manual_seed(0)
    maps = tuple(torch.randn(3, 16, 64 // level.stride, 64 // level.stride, generator=draw) for level in SPEC.levels)
    targets: DetectTargets = fake_targets(LABELS, (64, 64), 3)
    labels = torch.where(targets.labels >= 0, torch.tensor(PRESENT), -1)
    return Features(maps, None, Frame((64, 64), torch.full((3, 2), 64))), targets._replace(labels=labels)


def class_rows(decoder: AnyDecoder) -> dict[str, Tensor]:
    """The gradients of the last layers that predict classes, (candidates, classes or one more, ...)."""
    layers = {}
    for name, layer in decoder.named_modules():
        matched = re.match(
            r"(class_predictions?(\.\d+)?|head\.classifier|(refinement\.)?classify(\.\d+)?|selection\.score)\b", name
        )
        if matched and isinstance(layer, nn.Linear | nn.Conv2d):
            layers[matched[0]] = layer  # of several the last one
    width = CLASSES + int(decoder.terms[0] == "objectness" or type(decoder).__name__ in ("SSD", "SSDLite", "DETR"))
    return {
        name: layer.weight.grad.reshape(-1, width, *layer.weight.shape[1:])
        for name, layer in layers.items()
        if layer.weight.grad is not None
    }


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_for_what_is_not_annotated(name: str) -> None:
    decoder, (features, targets) = build(name), batch()
    scope = torch.ones(3, CLASSES).bool()

    def loss(exhaustive: Tensor | None) -> dict[str, LossTerm]:
        torch.manual_seed(0)  # of samples and noise
        terms: dict[str, LossTerm] = decoder.loss(features, targets._replace(exhaustive=exhaustive))[0]
        return terms

    whole, ordinary = loss(scope), loss(None)
    for key, term in whole.items():
        torch.testing.assert_close(term, ordinary[key])
    scope[:, HIDDEN] = False
    torch.stack([term.mean() for term in loss(scope).values()]).sum().backward()
    assert decoder.scope_use == ("some" if name in ("faster_rcnn", "yolox") else "full")
    rows = class_rows(decoder)
    assert rows, "the layers of the classes"
    for layer, slope in rows.items():
        assert (slope[:, HIDDEN] == 0).all(), layer
        assert slope[:, PRESENT].any(), layer
