"""The two detectors that choose their locations by what they predict: their rules, learning, compiling, exporting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.daily_sample import daily_sample
from vertebra.decoders.base import Decoder
from vertebra.decoders.detect.tood import TOOD
from vertebra.decoders.detect.yolox import YOLOX
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.geometry.boxes import pairwise_iou
from vertebra.geometry.nms import onnx_translation_table
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets

LABELS = DetectLabels(("a", "b", "c"))
SPEC = FeatureSpec((Level(16, 8), Level(24, 16)))
STEPS = 400
both = pytest.mark.parametrize("kind", [YOLOX, TOOD])
one_of_them = pytest.mark.parametrize("kind", daily_sample([YOLOX, TOOD], 1))


class TinyDetector(nn.Module):
    """Two convolutions as a backbone with strides 8 and 16."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 8, stride=8)
        self.second = nn.Conv2d(16, 24, 3, stride=2, padding=1)
        self.decoder = decoder

    def features(self, images: Tensor, sizes: Tensor) -> Features:
        height, width = images.shape[-2:]
        fine = self.first(F.pad(images, (0, -width % 8, 0, -height % 8))).relu()
        return Features((fine, self.second(fine).relu()), None, Frame((height, width), sizes))

    def forward(self, images: Tensor, sizes: Tensor) -> DetectDecoded:
        features = self.features(images, sizes)
        decoded: DetectDecoded = self.decoder.decode(self.decoder(features), features.frame)
        return decoded


def targets(*images: list[tuple[float, float, float, float, int]], most: int = 4) -> DetectTargets:
    """Padded targets of images, each a list of (x1, y1, x2, y2, label)."""
    boxes, labels = torch.zeros(len(images), most, 4), torch.full((len(images), most), -1)
    for row, objects in enumerate(images):
        for place, (x1, y1, x2, y2, label) in enumerate(objects):
            boxes[row, place], labels[row, place] = torch.tensor([x1, y1, x2, y2]), label
    count = torch.tensor([len(objects) for objects in images])
    return DetectTargets(boxes, labels, torch.zeros(len(images), most, dtype=torch.bool), count)


def scene() -> tuple[Tensor, Tensor, DetectTargets]:
    """Two images with colored boxes on gray, one of them smaller than a cell: images, sizes, truth."""
    ground_truth = targets([(8, 8, 40, 40, 0), (48, 16, 88, 56, 1)], [(20, 4, 60, 36, 2), (70, 49, 76, 55, 1)])
    images = torch.full((2, 3, 64, 96), 0.5)
    for row in range(2):
        for place in range(int(ground_truth.count[row])):
            x1, y1, x2, y2 = ground_truth.boxes[row, place].int().tolist()
            images[row, :, y1:y2, x1:x2] = F.one_hot(ground_truth.labels[row, place], 3).float()[:, None, None]
    return images - 0.5, torch.tensor([[64, 96], [64, 96]]), ground_truth


def total(terms: dict[str, LossTerm]) -> Tensor:
    """The loss as training adds it up."""
    return torch.stack([term.mean() for term in terms.values()]).sum()


def spread_scores(decoder: Decoder) -> None:
    """Random weights that give many different scores and boxes, so that no two runtimes order them differently."""
    for name, layer in decoder.named_children():
        if name.endswith("prediction"):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.normal_(layer.weight, std=0.03 if name.startswith("box") else 0.15)
            if not name.startswith("box"):
                nn.init.constant_(layer.bias, -1.0)


@both
def test_learns_two_images_by_heart(kind: type[Decoder]) -> None:
    """Each object, the one smaller than a cell too, is found by a box of its class, and nothing else is."""
    torch.manual_seed(0)
    images, sizes, ground_truth = scene()
    model = TinyDetector(kind(SPEC, LABELS))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0)
    course = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        terms, _ = model.decoder.loss(model.features(images, sizes), ground_truth)
        optimizer.zero_grad()
        total(terms).backward()
        optimizer.step()
        course.step()
    with torch.no_grad():
        found = model.eval()(images, sizes)
    for row, count in enumerate(ground_truth.count.tolist()):
        assert (found.scores[row, :count] > 0.4).all() and (found.scores[row, count:] < 0.25).all()
        best, which = pairwise_iou(ground_truth.boxes[row, :count], found.boxes[row, :count]).max(dim=1)
        assert (best > 0.5).all() and best[0] > 0.8, best
        assert torch.equal(found.labels[row, :count][which], ground_truth.labels[row, :count])


@both
def test_a_map_of_one_cell_and_a_batch_of_one(kind: type[Decoder]) -> None:
    model = TinyDetector(kind(SPEC, LABELS, norm="batch"))  # type: ignore[call-arg]
    features = model.features(torch.randn(1, 3, 16, 16), torch.tensor([[16, 16]]))
    terms, _ = model.decoder.loss(features, targets([(1, 1, 15, 15, 0)]))
    assert tuple(terms) == model.decoder.terms
    assert all(0 < term.count == terms["box"].count for term in terms.values())
    total(terms).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@both
def test_loss_gives_the_same_outputs_as_forward(kind: type[Decoder]) -> None:
    model = TinyDetector(kind(SPEC, LABELS)).eval()
    images, sizes, ground_truth = scene()
    features = model.features(images, sizes)
    _, outputs = model.decoder.loss(features, ground_truth)
    for first, second in zip(outputs, model.decoder(features), strict=True):
        assert torch.equal(first, second)


@both
def test_forward_and_loss_compile_to_one_graph(kind: type[Decoder]) -> None:
    model = TinyDetector(kind(SPEC, LABELS)).eval()
    spread_scores(model.decoder)
    images, sizes, ground_truth = scene()

    def loss(images: Tensor) -> Tensor:
        return total(model.decoder.loss(model.features(images, sizes), ground_truth)[0])

    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="eager")(images), loss(images))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for wanted, got in zip(model(images, sizes), compiled(images, sizes), strict=True):
        torch.testing.assert_close(got, wanted)


@one_of_them
def test_onnx_with_free_batch_height_and_width(kind: type[Decoder], tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = TinyDetector(kind(SPEC, LABELS)).eval()
    spread_scores(model.decoder)
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        model,
        (torch.randn(2, 3, 96, 64), torch.tensor([[96, 64], [91, 55]])),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch"), 2: free, 3: free}, {0: free}),
        custom_translation_table=onnx_translation_table(),
        verbose=False,
    )
    program.save(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    names = [value.name for value in session.get_inputs()]
    for batch, height, width in [(1, 96, 64), (3, 40, 72), (2, 33, 47)]:
        images, sizes = torch.randn(batch, 3, height, width), torch.randint(12, 30, (batch, 2))
        with torch.no_grad():
            expected = model(images, sizes)
        found = session.run(None, dict(zip(names, (images.numpy(), sizes.numpy()), strict=True)))
        assert expected.count.min() > 0
        for wanted, got in zip(expected, found, strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-4)
