"""A branch that reads another one's boxes: built, trained, evaluated, run, kept and exported with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vertebra
from tests.resolved import resolved_train
from vertebra.data.batches import Batch, BranchTargets
from vertebra.data.samples import Origin
from vertebra.decoders.keypoints.heatmap import Heatmap
from vertebra.errors import ConfigError, UnknownName
from vertebra.evaluation.measure import Evaluation
from vertebra.features import Proposals
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.testing import check_export, fake_targets
from vertebra.training.step import TrainingModule

CANVAS = (64, 96)
DECODERS = ("heatmap", "simcc", "regression")
SMALL: dict[str, dict[str, Any]] = {
    "heatmap": {"channels": 16, "region_size": (6, 6)},
    "simcc": {"channels": 16, "region_size": (6, 6), "depth": 1},
    "regression": {"channels": 16, "hidden": 16, "flow_steps": 2},
}


def two(decoder: str, pose: dict[str, Any] | None = None, boxes: dict[str, Any] | None = None) -> VisionModel:
    """A detector, and points on its boxes."""
    return vertebra.create_model(
        "resnet10t",
        branches={
            "pose": {
                "decoder": {"name": decoder, **SMALL[decoder]},
                "classes": ["bird"],
                "points": ["beak", "tail"],
                "boxes_from": "boxes",
                **(pose or {}),
            },
            "boxes": {
                "decoder": {"name": "retinanet", "postprocess": {"max_detections": 12}},
                "classes": ["fish", "bird"],
                **(boxes or {}),
            },
        },
        image_size=CANVAS,
    )


def everything(model: VisionModel, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    images = torch.randint(0, 256, (batch, 3, *CANVAS), dtype=torch.uint8)
    sizes = torch.tensor([CANVAS] + [(50, 60)] * (batch - 1))
    targets = {
        name: (torch.arange(batch), fake_targets(model.branch(name).labels, CANVAS, batch)) for name in model.branches
    }
    return images, sizes, targets


def test_boxes_in_another_branchs_classes() -> None:
    regions = Proposals(
        torch.arange(16.0).reshape(1, 4, 4),
        torch.tensor([[0.9, 0.8, 0.7, 0.0]]),
        torch.tensor([[0, 2, 1, -1]]),
        torch.tensor([3]),
    )
    found = regions.of_classes([-1, 0, 1])
    assert found.labels.tolist() == [[1, 0, -1, -1]] and found.count.tolist() == [2]
    assert found.boxes[0, :, 0].tolist() == [4, 8, 0, 0]
    torch.testing.assert_close(found.scores, torch.tensor([[0.8, 0.7, 0.0, 0.0]]))
    nothing = regions.of_classes([-1, -1, -1])
    assert nothing.count.tolist() == [0] and not bool(nothing.boxes.any()) and nothing.labels.tolist() == [[-1] * 4]


@pytest.mark.parametrize("decoder", DECODERS)
def test_builds_trains_and_runs(decoder: str) -> None:
    model = two(decoder)
    assert list(model.branches) == ["boxes", "pose"], "who reads boxes comes after who gives them"
    images, sizes, targets = everything(model)
    terms, _ = model.train().loss(images, sizes, targets)
    torch.stack([term.mean() for own in terms.values() for term in own.values()]).sum().backward()
    without = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not without
    with torch.no_grad():
        decoded = model.eval()(images, sizes)
    pose, boxes = decoded["pose"], decoded["boxes"]
    assert pose.points.shape == (2, 12, 2, 2) and pose.boxes.shape == (2, 12, 4)
    for image in range(2):
        birds = boxes.labels[image] == 1
        count = int(pose.count[image])
        assert count == int(birds.sum())
        assert set(pose.labels[image].tolist()) <= {0, -1} and int((pose.labels[image] == 0).sum()) == count
        found = {tuple(box) for box in pose.boxes[image, :count].tolist()}
        assert found == {tuple(box) for box in boxes.boxes[image, birds].tolist()}
        assert bool((pose.scores[image].diff() <= 0).all())
        assert bool((pose.scores[image, :count] <= boxes.scores[image, birds].max()).all())


def test_the_backbone_runs_once_and_the_truth_stands_in_for_boxes_in_training() -> None:
    model = two("heatmap")
    calls: list[int] = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    images, sizes, targets = everything(model)
    terms, outputs = model.train().loss(images, sizes, {"pose": targets["pose"]})
    assert set(terms) == {"pose"} and len(calls) == 1
    torch.testing.assert_close(outputs["pose"].objects.boxes, targets["pose"][1].boxes)
    with torch.no_grad():
        model.eval()(images, sizes)
    assert len(calls) == 2


def test_four_branches_on_one_detector_export_as_one_file(tmp_path: Path) -> None:
    model = vertebra.create_model(
        "resnet10t",
        branches={
            "boxes": {
                "decoder": {"name": "retinanet", "postprocess": {"max_detections": 12}},
                "classes": ["fish", "bird"],
            },
            **{
                name: {
                    "decoder": {"name": name, **SMALL[name]},
                    "classes": ["bird"],
                    "points": ["beak", "tail"],
                    "boxes_from": "boxes",
                }
                for name in DECODERS
            },
            "color": {
                "task": "classify",
                "decoder": {"name": "roi_head", "channels": 16},
                "classes": ["red", "blue"],
                "boxes_from": "boxes",
            },
        },
        image_size=CANVAS,
    )
    check_export(model, tmp_path)


def test_compiles() -> None:
    model = two("simcc").eval()
    images, sizes, _ = everything(model)
    with torch.no_grad():
        expected = model(images, sizes)["pose"]
        found = torch.compile(model, fullgraph=True, backend="eager")(images, sizes)["pose"]
    for left, right in zip(expected, found, strict=True):
        torch.testing.assert_close(left, right)


def test_is_kept_in_a_file_and_predicts_the_same(tmp_path: Path) -> None:
    model = two("regression").eval()
    again = vertebra.load(vertebra.save(model, tmp_path / "model.safetensors"))
    assert again.branch("pose").boxes_from == "boxes" and again.branch("pose").decoder.needs == "boxes"
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    (first,), (second,) = model.predict(image, threshold=0.0), again.predict(image, threshold=0.0)
    np.testing.assert_array_equal(first["pose"].points, second["pose"].points)
    assert first["pose"].points.shape[1:] == (2, 2)


def test_is_evaluated_with_the_boxes_that_were_found() -> None:
    from vertebra.tasks.keypoints.annotation import KeypointAnnotation

    model = two("heatmap")
    images, sizes, targets = everything(model)
    transform = model.resize_spec.transform(*CANVAS)
    ground_truth = targets["pose"][1]
    annotations = [
        KeypointAnnotation(
            points=ground_truth.points[0].numpy(),
            boxes=ground_truth.boxes[0].numpy(),
            labels=ground_truth.labels[0].numpy(),
            crowd=np.zeros(2, dtype=bool),
            areas=np.full(2, 900, dtype=np.float32),
        )
    ]
    rows = torch.tensor([0])
    own = BranchTargets(rows, type(ground_truth)(*(value[:1] for value in ground_truth)))
    batch = Batch(images, sizes, {"pose": own}, [Origin(Path("a.png"), transform)] * 2, {"pose": annotations})
    evaluation = Evaluation(model_info(model.eval()))
    seen: list[Any] = []
    evaluation.metrics["pose"].update = lambda predictions, ground_truths: seen.extend(predictions)
    evaluation.update(batch, model)
    with torch.no_grad():
        decoded = model(images, sizes)["pose"]
    assert len(seen) == 1 and len(seen[0]) == int(decoded.count[0])
    assert evaluation.losses.batches["pose"]


def test_a_training_step_counts_the_same_in_both_modes() -> None:
    model = two("regression")
    module = TrainingModule(model, resolved_train(ema=None), pretrained=False)
    images, sizes, targets = everything(model)
    own = {name: BranchTargets(rows, ground_truth) for name, (rows, ground_truth) in targets.items()}
    micro = Batch(images, sizes, own, [])
    counted = module._counts([micro, micro])
    terms = module._terms(micro)
    transform = module._term_names().index("pose/likelihood")
    assert counted is not None and float(counted[transform]) == 2 * float(terms["pose"]["likelihood"].count) > 0


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (
            {"boxes_from": None},
            "branch 'pose': decoder 'heatmap' reads boxes; name the branch that has them: boxes_from: NAME",
        ),
        ({"classes": ["cat"]}, r"reads the boxes of 'boxes', which finds none of its classes \(cat\), but fish, bird"),
        (
            {"decoder": {"name": "heatmap", "on_boxes": False}},
            "branch 'pose': decoder 'heatmap' reads no boxes; build it with on_boxes=True",
        ),
        (
            {"decoder": lambda spec, labels: Heatmap(spec, labels), "task": "keypoints"},
            "reads no boxes; build it with on_boxes=True",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(pose: dict[str, Any], message: str) -> None:
    pose = {"decoder": {"name": "heatmap", "on_boxes": True}, **pose}
    with pytest.raises(ConfigError, match=message):
        two("heatmap", pose)


def test_only_boxes_are_read_as_boxes() -> None:
    with pytest.raises(ConfigError, match="branch 'pose' reads boxes, but 'boxes' is for classify and has none"):
        two("heatmap", boxes={"decoder": "linear"})
    with pytest.raises(UnknownName, match="'boxen'"):
        two("heatmap", {"boxes_from": "boxen"})


def test_a_decoder_given_as_an_object_says_so_itself() -> None:
    model = two("heatmap", {"decoder": partial(Heatmap, on_boxes=True, channels=16)})
    assert model.branch("pose").decoder.needs == "boxes"
