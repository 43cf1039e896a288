"""What both dense detectors, RetinaNet and FCOS, must do: learn, decode, compile and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.daily_sample import daily_sample
from vertebra.decoders.base import Decoder
from vertebra.decoders.detect._nms_postprocess import NMSPostprocess, nms_postprocess
from vertebra.decoders.detect.fcos import FCOS
from vertebra.decoders.detect.retinanet import RetinaNet
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.geometry.boxes import pairwise_iou
from vertebra.geometry.nms import onnx_translation_table
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets

LABELS = DetectLabels(("a", "b", "c"))
SPEC = FeatureSpec((Level(16, 8), Level(24, 16)))
both = pytest.mark.parametrize("kind", [RetinaNet, FCOS])
one_of_them = pytest.mark.parametrize("kind", daily_sample([RetinaNet, FCOS], 1))


class TinyDetector(nn.Module):
    """Two convolutions as a backbone with strides 8 and 16, padded right and bottom to a multiple of 8."""

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
    """Two images with colored boxes on gray: images, sizes, truth."""
    ground_truth = targets([(8, 8, 40, 40, 0), (48, 16, 88, 56, 1)], [(20, 4, 60, 36, 2)])
    images = torch.full((2, 3, 64, 96), 0.5)
    for row in range(2):
        for place in range(int(ground_truth.count[row])):
            x1, y1, x2, y2 = ground_truth.boxes[row, place].int().tolist()
            images[row, :, y1:y2, x1:x2] = F.one_hot(ground_truth.labels[row, place], 3).float()[:, None, None]
    return images - 0.5, torch.tensor([[64, 96], [64, 96]]), ground_truth


def total(terms: dict[str, LossTerm]) -> Tensor:
    """The loss as training adds it up."""
    return torch.stack([term.mean() for term in terms.values()]).sum()


def overfit(model: TinyDetector, steps: int) -> DetectDecoded:
    """Learns the scene by heart and gives what is then found."""
    images, sizes, ground_truth = scene()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0)
    for _ in range(steps):
        terms, _ = model.decoder.loss(model.features(images, sizes), ground_truth)
        optimizer.zero_grad()
        total(terms).backward()
        optimizer.step()
    with torch.no_grad():
        return model.eval()(images, sizes)


def spread_scores(decoder: Decoder) -> None:
    """Random weights that give many different scores and boxes, so that no two runtimes order them differently."""
    for name, layer in decoder.named_children():
        if name.endswith("prediction"):
            nn.init.normal_(layer.weight, std=0.15 if name.startswith("class") else 0.03)  # type: ignore[arg-type]


def assert_onnx_agrees(
    model: TinyDetector, size: tuple[int, int], folder: Path, *, free_size: bool = False, others: Any = ()
) -> None:
    """Exports with a free batch, runs at other batch sizes (and sizes ``others``) and finds the same."""
    runtime = pytest.importorskip("onnxruntime")
    free = torch.export.Dim.DYNAMIC
    shape: dict[int, Any] = {0: torch.export.Dim("batch")}
    if free_size:
        shape |= {2: free, 3: free}
    example = (torch.randn(2, 3, *size), torch.tensor([list(size), [size[0] - 5, size[1] - 9]]))
    program = torch.onnx.export(
        model.eval(),
        example,
        dynamo=True,
        dynamic_shapes=(shape, {0: free}),
        custom_translation_table=onnx_translation_table(),
        verbose=False,
    )
    program.save(folder / "model.onnx")
    session = runtime.InferenceSession(folder / "model.onnx")
    for value in [*session.get_inputs(), *session.get_outputs()]:
        assert not isinstance(value.shape[0], int), value
    if free_size:
        assert not any(isinstance(edge, int) for edge in session.get_inputs()[0].shape[2:])
    for batch, height, width in [(1, *size), (5, *size), *others]:
        images, sizes = torch.randn(batch, 3, height, width), torch.randint(12, 30, (batch, 2))
        with torch.no_grad():
            expected = model(images, sizes)
        names = [value.name for value in session.get_inputs()]
        found = session.run(None, dict(zip(names, (images.numpy(), sizes.numpy()), strict=True)))
        assert expected.count.min() > 0
        for wanted, got in zip(expected, found, strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-4)


@both
def test_learns_two_images_by_heart(kind: type[Decoder]) -> None:
    """Each object is found by a confident box of its class, and no other box is confident."""
    _, _, ground_truth = scene()
    found = overfit(TinyDetector(kind(SPEC, LABELS)), steps=120)
    for row in range(2):
        sure = found.scores[row] > 0.4
        assert sure.sum() == ground_truth.count[row]
        iou = pairwise_iou(ground_truth.boxes[row, : ground_truth.count[row]], found.boxes[row, sure])
        best, which = iou.max(dim=1)
        assert (best > 0.7).all(), best
        assert torch.equal(found.labels[row, sure][which], ground_truth.labels[row, : ground_truth.count[row]])


@both
@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_gradients_reach_all_parameters_even_for_one_image(kind: type[Decoder], norm: str) -> None:
    """The map at stride 16 has one cell only, where batch normalization would see one value per channel."""
    decoder = kind(SPEC, LABELS, norm=norm)  # type: ignore[call-arg]
    model = TinyDetector(decoder)
    features = model.features(torch.randn(1, 3, 16, 16), torch.tensor([[16, 16]]))
    assert features.maps[1].shape[-2:] == (1, 1)
    terms, _ = decoder.loss(features, targets([(1, 1, 15, 15, 0)]))
    assert tuple(terms) == decoder.terms
    assert all(term.count == terms["box"].count > 0 for term in terms.values())
    total(terms).backward()
    missing = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert not missing
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@both
@pytest.mark.parametrize("most", [0, 1, 3])
def test_images_without_objects_teach_what_is_nothing(kind: type[Decoder], most: int) -> None:
    model = TinyDetector(kind(SPEC, LABELS))
    features = model.features(torch.randn(2, 3, 33, 47), torch.tensor([[33, 47], [20, 30]]))
    terms, _ = model.decoder.loss(features, targets([], [], most=most))
    total(terms).backward()
    assert terms["classification"].sum > 0
    assert terms["box"] == (0, 0)
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@both
def test_first_scores_are_the_prior(kind: type[Decoder]) -> None:
    decoder = kind(SPEC, LABELS)
    maps = (torch.zeros(1, 16, 4, 4), torch.zeros(1, 24, 2, 2))
    outputs = decoder(Features(maps, None, Frame((32, 32), torch.tensor([[32, 32]]))))
    scores = outputs.class_logits.sigmoid()
    torch.testing.assert_close(scores, torch.full_like(scores, 0.01), atol=0.01, rtol=0)
    assert abs(scores.mean() - 0.01) < 2e-3


@both
def test_loss_gives_the_same_outputs_as_forward(kind: type[Decoder]) -> None:
    model = TinyDetector(kind(SPEC, LABELS)).eval()
    images, sizes, ground_truth = scene()
    features = model.features(images, sizes)
    _, outputs = model.decoder.loss(features, ground_truth)
    for first, second in zip(outputs, model.decoder(features), strict=True):
        assert torch.equal(first, second)


@both
def test_padding_is_never_found(kind: type[Decoder]) -> None:
    model = TinyDetector(kind(SPEC, LABELS)).eval()
    spread_scores(model.decoder)
    sizes = torch.tensor([[97, 65], [40, 21], [3, 2]])
    with torch.no_grad():
        found = model(torch.randn(3, 3, 97, 65), sizes)
    assert found.boxes.shape == (3, 100, 4)
    assert found.count.min() > 0
    limits = sizes.flip(1).repeat(1, 2)[:, None]
    assert ((found.boxes >= 0) & (found.boxes <= limits)).all()
    real = torch.arange(100) < found.count[:, None]
    assert ((found.boxes[..., 2:] > found.boxes[..., :2]).all(-1) == real).all()
    assert (found.scores[real] > 0.01).all()
    assert (found.scores[~real] == 0).all()
    assert (found.labels[~real] == -1).all()
    assert (found.labels[real] >= 0).all()
    assert (found.scores.diff(dim=1) <= 0).all()


@both
def test_an_image_is_found_the_same_alone_and_in_a_batch(kind: type[Decoder]) -> None:
    model = TinyDetector(kind(SPEC, LABELS)).eval()
    spread_scores(model.decoder)
    images, sizes = torch.randn(3, 3, 64, 48), torch.tensor([[64, 48], [50, 48], [64, 20]])
    with torch.no_grad():
        together = model(images, sizes)
        for row in range(3):
            alone = model(images[row : row + 1], sizes[row : row + 1])
            for whole, part in zip(together, alone, strict=True):
                torch.testing.assert_close(whole[row], part[0], atol=1e-4, rtol=1e-4)


@both
def test_decoding_options_change_on_a_built_decoder(kind: type[Decoder]) -> None:
    decoder = kind(SPEC, LABELS, postprocess=NMSPostprocess(pre_nms_topk=50, max_detections=7))  # type: ignore[call-arg]
    model = TinyDetector(decoder).eval()
    images, sizes, _ = scene()
    assert model(images, sizes).boxes.shape == (2, 7, 4)
    decoder.postprocess = NMSPostprocess(score_threshold=0.9)  # type: ignore[assignment]
    assert model(images, sizes).count.tolist() == [0, 0]


def test_classes_suppress_each_other_only_if_class_agnostic() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [20.0, 0.0, 30.0, 10.0]]])
    scores, labels = torch.tensor([[0.6, 0.9, 0.3]]), torch.tensor([[0, 1, 0]])
    frame = Frame((32, 32), torch.tensor([[32, 32]]))
    each = nms_postprocess(boxes, scores, labels, frame, NMSPostprocess(max_detections=3))
    assert each.labels.tolist() == [[1, 0, 0]]
    over_all = nms_postprocess(boxes, scores, labels, frame, NMSPostprocess(max_detections=3, class_agnostic=True))
    assert over_all.labels.tolist() == [[1, 0, -1]]
    torch.testing.assert_close(over_all.scores, torch.tensor([[0.9, 0.3, 0.0]]))


@both
def test_compiles_to_one_graph(kind: type[Decoder]) -> None:
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
@pytest.mark.parametrize("size", [(32, 32), (97, 65)])
def test_onnx_with_free_batch(kind: type[Decoder], size: tuple[int, int], tmp_path: Path) -> None:
    """32x32 has fewer candidates than the hundred boxes that are kept."""
    model = TinyDetector(kind(SPEC, LABELS))
    spread_scores(model.decoder)
    assert_onnx_agrees(model, size, tmp_path)


@one_of_them
def test_onnx_with_free_height_and_width(kind: type[Decoder], tmp_path: Path) -> None:
    model = TinyDetector(kind(SPEC, LABELS))
    spread_scores(model.decoder)
    assert_onnx_agrees(model, (96, 64), tmp_path, free_size=True, others=[(3, 40, 72), (2, 33, 47)])


@both
def test_half_precision_trains(kind: type[Decoder]) -> None:
    model = TinyDetector(kind(SPEC, LABELS))
    images, sizes, ground_truth = scene()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms, outputs = model.decoder.loss(model.features(images, sizes), ground_truth)
        found = model.decoder.decode(outputs, Frame((64, 96), sizes))
    assert all(term.sum.dtype == torch.float32 for term in terms.values())
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    total(terms).backward()


@both
def test_levels_finer_than_eight_are_left_out(kind: type[Decoder]) -> None:
    spec = FeatureSpec((Level(8, 4), Level(16, 8), Level(24, 16), Level(32, 16)))
    head = kind(spec, LABELS).head
    assert (head.indices, head.strides, head.width) == ([1, 3], [8, 16], 64)
    assert kind(spec, LABELS, finest_stride=4).head.indices == [0, 1, 3]  # type: ignore[call-arg]
    assert kind(FeatureSpec((Level(8, 2), Level(8, 4), Level(8, 8))), LABELS).head.strides == [4, 8]


@both
def test_width_and_depth_fit_what_comes_in(kind: type[Decoder]) -> None:
    def head(*channels: int, **options: Any) -> tuple[int, int]:
        spec = FeatureSpec(tuple(Level(width, 8 * 2**place) for place, width in enumerate(channels)))
        built = kind(spec, LABELS, **options).head
        return built.width, len(built.class_tower.convs)

    assert head(128, 128, 128) == (128, 2)
    assert head(256, 256) == (256, 4)
    assert head(32, 96, 320) == (64, 2)
    assert head(256, 512, 1024) == (128, 2)
    assert head(512, 1024, 2048) == (256, 4)
    assert head(768) == (96, 2)
    assert head(32, 96, channels=72, depth=0) == (72, 0)


@both
def test_what_does_not_fit_is_refused(kind: type[Decoder]) -> None:
    with pytest.raises(IncompatiblePartsError, match="needs feature maps aligned with the image"):
        kind(FeatureSpec((), embedding=10), LABELS)
    with pytest.raises(IncompatiblePartsError, match="needs a level at stride 64 or coarser"):
        kind(SPEC, LABELS, finest_stride=64)  # type: ignore[call-arg]
    with pytest.raises(IncompatiblePartsError, match="needs a level at stride 4 or coarser"):
        kind(FeatureSpec((Level(8, 2),)), LABELS)
    with pytest.raises(ConfigError, match="'channels' must be a positive multiple of 8, got 33"):
        kind(SPEC, LABELS, channels=33)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="'depth' must be 0 or more, got -1"):
        kind(SPEC, LABELS, depth=-1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.0}, "'postprocess.score_threshold' must be at least 0 and below 1, got 1.0"),
        ({"nms_iou": 1.5}, "'postprocess.nms_iou' must be between 0 and 1, got 1.5"),
        (
            {"max_detections": 200, "pre_nms_topk": 100},
            r"'postprocess.max_detections' must be .* at most 'postprocess.pre_nms_topk' \(100\), got 200",
        ),
    ],
)
def test_decoding_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NMSPostprocess(**options)
