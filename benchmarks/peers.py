"""Models of other libraries with random weights, and their ordinary use. Nothing of Vertebra is imported here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from benchmarks.synthetic import canvases

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = 21  # of segmenters
LOGITS = (-6.0, 1.2)  # mean and spread of a dense detector's, over all places
Call = Callable[[Tensor], Any]
"""From canvases (N, 3, H, W) uint8 to what the peer's user gets, preprocessing and post-processing included."""


def classifier(library: str, name: str) -> nn.Module:
    """Of timm or torchvision."""
    torch.manual_seed(0)
    if library == "timm":
        import timm

        return alive(timm.create_model(name))
    return alive(torchvision.models.get_model(name, weights=None))


def detector(name: str, size: tuple[int, int]) -> nn.Module:
    """Of torchvision with 91 classes, for canvases that it does not resize."""
    torch.manual_seed(0)
    options: Any = {} if name.startswith("ssd") else {"min_size": min(size), "max_size": max(size)}
    peer = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=91, **options)
    peer = alive(peer)
    if name.startswith("ssd"):
        settled(peer, lambda: peer(list(canvases(2, size).float() / 255)))
    return tempered(peer, size)


def frozen_retinanet(size: tuple[int, int]) -> nn.Module:
    """torchvision's RetinaNet on ResNet-50 as it is trained from its published weights: with frozen norms, whose eps is 0."""
    torch.manual_seed(0)
    body = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    backbone = _resnet_fpn_extractor(body, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    peer = alive(RetinaNet(backbone, 91, min_size=min(size), max_size=max(size)))
    torchvision.models.detection._utils.overwrite_eps(peer, 0.0)
    return tempered(peer, size)


def segmenter(library: str, name: str, encoder: str = "resnet34") -> nn.Module:
    """Of torchvision or segmentation-models-pytorch."""
    torch.manual_seed(0)
    if library == "torchvision":
        return alive(
            torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=None, num_classes=CLASSES)
        )
    import segmentation_models_pytorch as smp

    return alive(getattr(smp, name)(encoder, encoder_weights=None, classes=CLASSES))


def rt_detr(size: tuple[int, int]) -> nn.Module:
    """transformers' RT-DETR on its ResNet-18, as PekingU publishes it. The norms' statistics are those of images, so that queries
    differ."""
    import transformers

    torch.manual_seed(0)
    widths = [64, 128, 256, 512]
    body = transformers.RTDetrResNetConfig(
        depths=[2, 2, 2, 2], hidden_sizes=widths, layer_type="basic", out_indices=[2, 3, 4]
    )
    config = transformers.RTDetrConfig(
        backbone_config=body, encoder_in_channels=widths[1:], hidden_expansion=0.5, decoder_layers=3
    )
    peer = alive(transformers.RTDetrForObjectDetection(config))
    with torch.no_grad():
        for name, layer in peer.named_modules():
            if isinstance(layer, nn.Linear) and "backbone" not in name:
                nn.init.normal_(layer.weight, 0, layer.in_features**-0.5)
                nn.init.normal_(layer.bias, 0, 0.1)
    return settled(peer, lambda: peer(canvases(2, size).float() / 255))


def alive(module: nn.Module) -> nn.Module:
    """Random norms, of a size that lets signals through; in evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm | FrozenBatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.weight, 0.5, 1.0)
    return module.eval()


@torch.no_grad()
def settled(peer: nn.Module, run: Callable[[], object]) -> nn.Module:
    """With the norms' statistics of a run, so that deep maps differ from place to place; in evaluation mode."""
    for layer in peer.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()
            layer.momentum = 1.0
    run()
    return peer.eval()


@torch.no_grad()
def tempered(peer: nn.Module, size: tuple[int, int], classes: int = 91) -> nn.Module:
    """Scores that differ from place to place, as spread as a trained detector's, so that there is something to suppress and few
    ties; what torchvision keeps for a background in heads of independent classes never wins, since ours have no such class.

    Args:
        peer: RetinaNet, FCOS, Faster R-CNN or SSD.
        size: (height, width) of the canvas.
        classes: with the background.
    """
    for name, layer in list(peer.named_modules()):
        if isinstance(layer, nn.Linear) and "cls_score" in name:
            nn.init.normal_(layer.weight, 0, 0.02)
            nn.init.normal_(layer.bias, 0, 1)
        if isinstance(layer, nn.Conv2d) and "cls_logits" in name and "rpn" not in name:
            values = _seen(peer, layer, size)
            scale = LOGITS[1] / values.std(dim=1)
            layer.weight.mul_(scale[:, None, None, None])
            layer.bias.copy_((layer.bias - values.mean(dim=1)) * scale + LOGITS[0])
            layer.weight.reshape(-1, classes, *layer.weight.shape[1:])[:, 0] = 0
            layer.bias.reshape(-1, classes)[:, 0] = -50
        if (
            isinstance(layer, nn.Conv2d)
            and "classification_head.module_list" in name
            and len(layer.weight) % classes == 0
        ):
            layer.weight.mul_(LOGITS[1] / _seen(peer, layer, size).std())
    return peer


def _seen(peer: nn.Module, layer: nn.Conv2d, size: tuple[int, int]) -> Tensor:
    """(channels, places) that a layer gives, with new random weights, at all places of all levels of an image."""
    nn.init.normal_(layer.weight, 0, 0.01)
    maps: list[Tensor] = []
    hook = layer.register_forward_hook(lambda layer, given, found: maps.append(found[0].flatten(1)))
    peer(list(canvases(1, size).float() / 255))
    hook.remove()
    return torch.cat(maps, dim=1)


def normalized(peer: nn.Module, images: Tensor) -> Tensor:
    """Canvases as a classifier or segmenter takes them: with timm's own mean and std, or ImageNet's."""
    config = getattr(peer, "pretrained_cfg", None) or {"mean": MEAN, "std": STD}
    mean, std = (torch.tensor(config[key], device=images.device).reshape(3, 1, 1) for key in ("mean", "std"))
    return (images.float() / 255 - mean) / std


def logits(peer: nn.Module, images: Tensor) -> Tensor:
    """Of a classifier or segmenter."""
    found = peer(normalized(peer, images))
    return found["out"] if isinstance(found, dict) else found


def probabilities(peer: nn.Module) -> Call:
    """The use of a classifier or segmenter."""
    return lambda images: logits(peer, images).softmax(dim=1)


def boxes(peer: nn.Module) -> Call:
    """The use of a detector of torchvision."""
    return lambda images: peer(list(images.float() / 255))


def rt_detr_boxes(peer: nn.Module) -> Call:
    """The use of RT-DETR, with transformers' own post-processing."""
    import transformers

    finish = transformers.RTDetrImageProcessor().post_process_object_detection

    def call(images: Tensor) -> Any:
        sizes = torch.tensor([images.shape[-2:]] * len(images))
        return finish(peer(images.float() / 255), threshold=0.0, target_sizes=sizes)

    return call


def call_of(task: str, peer: nn.Module) -> Call:
    """The use of a model of torchvision, timm or smp."""
    return boxes(peer) if task in ("detect", "instances") else probabilities(peer)


def yolo(name: str) -> nn.Module:
    """One of ultralytics' models from its YAML, folded as its own prediction does. It is AGPL-3.0: a yardstick where somebody has
    it installed, and no dependency.

    Raises:
        ModuleNotFoundError: ultralytics is not installed.
    """
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    return DetectionModel(f"{name}.yaml", ch=3, nc=80, verbose=False).eval().fuse(verbose=False)


def yolo_boxes(peer: nn.Module) -> Call:
    """The use of one of ultralytics' models, with the suppression of its own prediction."""
    from ultralytics.utils.nms import non_max_suppression

    end_to_end = bool(getattr(peer, "end2end", False))

    def call(images: Tensor) -> Any:
        found = peer(images.float() / 255)
        return non_max_suppression(found, conf_thres=0.25, iou_thres=0.7, max_det=300, end2end=end_to_end)

    return call


def plain_loss(task: str, peer: nn.Module, images: Tensor, ground_truth: Any) -> Tensor:
    """The loss as the peer's own tutorials have it: cross entropy, or the sum of what a detector gives.

    Args:
        task, images, ground_truth: see `benchmarks.synthetic`.
        peer: in training mode.
    """
    if task != "detect":
        return F.cross_entropy(logits(peer, images), ground_truth)
    targets = [{"boxes": own, "labels": labels + 1} for own, labels in zip(*ground_truth, strict=True)]
    return torch.stack(list(peer(list(images.float() / 255), targets).values())).sum()


def plain_step(
    task: str, peer: nn.Module, images: Tensor, ground_truth: Any, device: str = "cpu"
) -> Callable[[], float]:
    """A training step of a plain loop in float32 with AdamW, which gives its loss. Batches come from the CPU's memory."""
    peer.train()
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-3, weight_decay=0.05)

    def step() -> float:
        optimizer.zero_grad()
        true = (
            ground_truth.to(device)
            if isinstance(ground_truth, Tensor)
            else tuple(value.to(device) for value in ground_truth)
        )
        loss = plain_loss(task, peer, images.to(device), true)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
