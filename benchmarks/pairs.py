"""Models of other libraries beside ours of the same architecture with the same weights, and what must be equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import vertebra
from benchmarks import peers
from vertebra.model import VisionModel
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.tasks.instances.predictions import from_decoded
from vertebra.tasks.instances.types import InstancePrediction
from vertebra.weights.importing import assemble
from vertebra.weights.peers.base import PeerModel
from vertebra.weights.peers.smp import BUILDERS as SMP
from vertebra.weights.peers.timm_classify import classifier
from vertebra.weights.peers.torchvision import builders
from vertebra.weights.peers.transformers_rt_detr import rt_detr as rt_detr_in_our_terms

TORCHVISION = builders()
CLOSE = 1e-4  # the largest difference in float32, relative to the largest value
SAME_MASKS = 0.98  # mean intersection over union
BEST = 20  # boxes of an image that are compared
Answers = Mapping[str, Any]
"""By branch, decoded outputs with their fields; tensors or arrays."""


class Pair(NamedTuple):
    """A peer's model and ours.

    Attributes:
        peer: the peer's module.
        call: its ordinary use.
        ours: the same model, imported, for canvases of the benchmark's size.
        differ: from our answers and the peer's to their largest difference, relative to the largest value; None for models of
            different architecture, whose answers have nothing in common.
        limit: the largest difference that is one of rounding.
        finish: what our answers still need to be what the peer's use gives, timed with them; None for nothing.
    """

    peer: nn.Module
    call: peers.Call
    ours: VisionModel
    differ: Callable[[Answers, Any], float] | None
    limit: float = CLOSE
    finish: Callable[[Answers], object] | None = None


def in_our_terms(task: str, library: str, name: str, peer: nn.Module, size: tuple[int, int]) -> PeerModel:
    """A peer's module as what an import reads of it, for a canvas.

    Args:
        task: of the model.
        library: "timm", "torchvision", "smp" or "transformers".
        name: of the library's builder.
        peer: the module.
        size: (height, width) of the canvas.
    """
    config: Any = peer.config if library in ("smp", "transformers") else {}
    if library == "transformers":
        found = rt_detr_in_our_terms(config.to_dict(), peer.state_dict())
    elif library == "smp":
        found = SMP[name.lower()](config, peer.state_dict())
    else:
        build = classifier if library == "timm" else TORCHVISION[name]
        found = build(name, peer.state_dict())
    return replace(found, resize_spec=ResizeSpec(size, "center_crop" if task == "classify" else "resize"))


def classify(library: str, name: str, size: tuple[int, int]) -> Pair:
    """A classifier of timm or torchvision."""
    peer = peers.classifier(library, name)
    ours, _ = assemble(in_our_terms("classify", library, name, peer, size))
    return Pair(peer, peers.probabilities(peer), ours, by_probabilities("classify"))


def detect(name: str, size: tuple[int, int]) -> Pair:
    """A detector of torchvision."""
    peer = peers.detector(name, size)
    ours, _ = assemble(in_our_terms("detect", "torchvision", name, peer, size))
    return Pair(peer, peers.boxes(peer), ours, by_boxes("detect"))


def instances(name: str, size: tuple[int, int]) -> Pair:
    """A Mask R-CNN of torchvision, whose use ends with masks of the image's size; ours with their run lengths."""
    peer = peers.detector(name, size)
    ours, _ = assemble(in_our_terms("instances", "torchvision", name, peer, size))
    boxes, finish = by_boxes("detect"), partial(pasted, ours, size)

    def differ(answers: Answers, theirs: Any) -> float:
        for prediction, there in zip(finish(answers), theirs, strict=True):
            require_equal_masks(
                prediction[:BEST], there["boxes"].cpu().numpy(), there["masks"][:, 0].cpu().numpy() > 0.5
            )
        return boxes(answers, theirs)

    return Pair(peer, peers.boxes(peer), ours, differ, finish=finish)


def pasted(model: VisionModel, size: tuple[int, int], answers: Answers) -> list[InstancePrediction]:
    """The predictions of a batch of full canvases, with masks drawn into the images."""
    found = answers["instances"]
    fields = [np.asarray(value) for value in (found if isinstance(found, tuple) else vars(found).values())]
    transform, labels = ImageTransform(size, size, 1.0, 1.0, 0, 0, size), model.branch("instances").labels
    return [
        from_decoded([value[row] for value in fields], transform, labels, threshold=0.0)
        for row in range(len(fields[0]))
    ]


def require_equal_masks(ours: InstancePrediction, boxes: np.ndarray, masks: np.ndarray) -> None:
    """Compares masks with those of the peer's nearest boxes; boxes that differ by rounding may differ by a pixel.

    Raises:
        AssertionError: they differ by more in the mean.
    """
    nearest = np.abs(ours.boxes[:, None] - boxes[None]).max(axis=2).argmin(axis=1)
    overlaps = [
        (mine & there).sum() / max((mine | there).sum(), 1)
        for mine, there in zip(ours.masks, masks[nearest], strict=True)
    ]
    assert np.mean(overlaps) > SAME_MASKS, f"our masks overlap the peer's by {np.mean(overlaps):.3f} only"


def rt_detr(size: tuple[int, int]) -> Pair:
    """transformers' RT-DETR. Its layers choose and refine boxes by what they chose before, which multiplies rounding."""
    peer = peers.rt_detr(size)
    ours, _ = assemble(in_our_terms("detect", "transformers", "rt_detr", peer, size))
    return Pair(peer, peers.rt_detr_boxes(peer), ours, by_boxes("detect"), limit=1e-3)


def segment(library: str, name: str, size: tuple[int, int]) -> Pair:
    """A segmenter of torchvision or segmentation-models-pytorch, with 21 classes."""
    peer = peers.segmenter(library, name)
    ours, _ = assemble(in_our_terms("segment", library, name, peer, size))
    return Pair(peer, peers.probabilities(peer), ours, by_probabilities("segment"))


def small_detector(name: str, size: tuple[int, int]) -> Pair:
    """One of ultralytics' smallest models, and our own small detector: of different architecture, both random."""
    peer = peers.yolo(name)
    torch.manual_seed(0)
    ours = vertebra.create_model(
        {"name": "mobilenetv2_100", "pretrained": False},
        neck="pafpn",
        decoder="yolox",
        classes=[f"class_{number}" for number in range(80)],
        image_size=size,
    )
    return Pair(peer, peers.yolo_boxes(peer), ours.eval(), None)


def difference(ours: Any, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    found, theirs = torch.as_tensor(ours).float().cpu(), theirs.cpu()
    assert found.shape == theirs.shape, f"ours is {tuple(found.shape)}, theirs {tuple(theirs.shape)}"
    return float((found - theirs.float()).abs().max() / theirs.abs().max())


def by_probabilities(branch: str) -> Callable[[Answers, Tensor], float]:
    """Compares classifiers and segmenters."""
    return lambda answers, theirs: difference(answers[branch].probabilities, theirs)


def by_boxes(branch: str) -> Callable[[Answers, Any], float]:
    """Compares detectors: the 20 best scores of each image in order, and for each of these boxes the nearest one of the peer's."""

    def differ(answers: Answers, theirs: Any) -> float:
        boxes, scores, counts = (
            torch.as_tensor(getattr(answers[branch], field)).float().cpu() for field in ("boxes", "scores", "count")
        )
        edge = boxes.amax(dim=(0, 1))[2:].repeat(2)
        worst = 0.0
        for row, own in enumerate(theirs):
            there = torch.minimum(own["boxes"].cpu().clamp(min=0), edge)
            seen = ((there[:, 2:] - there[:, :2]) > 0).all(dim=1)
            there, rated = there[seen], own["scores"].cpu()[seen]
            count = min(int(counts[row]), len(rated), BEST)
            assert count > 3, "too few boxes to decide"
            apart = (boxes[row, :count, None] - there).abs().amax(dim=-1).amin(dim=1)
            worst = max(worst, difference(scores[row, :count], rated[:count]), float((apart / edge.max()).max()))
        return worst

    return differ


def require_equal(name: str, found: float, limit: float = CLOSE) -> float:
    """The difference, if it is one of rounding.

    Raises:
        AssertionError: it is more, so that times would compare different things.
    """
    assert found <= limit, f"{name}: our answers differ from the peer's by {found:.1e} of the largest value"
    return found
