"""Models of other libraries beside ours with the same weights: what each is called with, and what must be equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from torch import Tensor, nn

from vertebra.model import VisionModel
from vertebra.weights.importing import assemble
from vertebra.weights.peers import smp as smp_peers
from vertebra.weights.peers.timm_classify import classifier
from vertebra.weights.peers.torchvision import builders

TORCHVISION = builders()


class Pair(NamedTuple):
    """A peer's model and ours.

    Attributes:
        peer: the peer's module.
        call: runs the peer on canvases (N, 3, H, W) uint8, its own preprocessing and post-processing included.
        ours: the same model, imported.
        differ: from canvases to the largest difference of the two models' outputs, relative to the largest value.
    """

    peer: nn.Module
    call: Callable[[Tensor], Any]
    ours: VisionModel
    differ: Callable[[VisionModel, Tensor], float]


def alive(module: nn.Module) -> nn.Module:
    """Random norms, of a size that lets signals through."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.weight, 0.5, 1.0)
    return module.eval()


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float() - theirs.float()).abs().max() / theirs.abs().max())


def classify(library: str, name: str) -> Pair:
    """A classifier of timm or torchvision."""
    made = timm.create_model(name) if library == "timm" else torchvision.models.get_model(name, weights=None)
    peer = alive(made)
    build: Any = classifier if library == "timm" else TORCHVISION[name]
    ours, _ = assemble(build(name, peer.state_dict()))
    mean, std = torch.as_tensor(ours.backbone.mean), torch.as_tensor(ours.backbone.std)

    def call(images: Tensor) -> Tensor:
        return peer((images.float() - mean) / std).softmax(dim=1)

    return Pair(
        peer, call, ours, lambda model, images: difference(model(images)["classify"].probabilities, call(images))
    )


def detect(name: str, size: tuple[int, int]) -> Pair:
    """A detector of torchvision, at a canvas for which it resizes nothing."""
    options = {} if name.startswith("ssd") else {"min_size": min(size), "max_size": max(size)}
    peer: Any = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=91, **options)
    peer = alive(peer)
    if not name.startswith("ssd"):
        peer = tempered(peer)
    ours, _ = assemble(TORCHVISION[name](name, peer.state_dict()))

    def call(images: Tensor) -> Any:
        return peer(list(images.float() / 255))

    def differ(model: VisionModel, images: Tensor) -> float:
        decoded, theirs = model(images)["detect"], call(images)
        shares = []
        for row, own in enumerate(theirs):
            count = min(int(decoded.count[row]), len(own["scores"]), 20)
            assert count > 3, "too few boxes to tell"
            shares.append(difference(decoded.scores[row, :count], own["scores"][:count]))
        return max(shares)

    return Pair(peer, call, ours, differ)


def tempered(peer: Any, classes: int = 91) -> Any:
    """Scores as spread as a trained detector's, so that there is something to suppress; what torchvision keeps for a background in
    heads of independent classes never wins, since ours have no such class."""
    for name, layer in peer.named_modules():
        if isinstance(layer, nn.Conv2d) and "cls_logits" in name and "rpn" not in name:
            nn.init.normal_(layer.weight, 0, 0.002)
            nn.init.normal_(layer.bias, -5, 1)
            layer.bias.data.reshape(-1, classes)[:, 0] = -50
        if isinstance(layer, nn.Linear) and "cls_score" in name:
            nn.init.normal_(layer.weight, 0, 0.02)
            nn.init.normal_(layer.bias, 0, 1)
    return peer


def segment(library: str, name: str) -> Pair:
    """A segmenter of torchvision or segmentation-models-pytorch, with 21 classes."""
    if library == "torchvision":
        peer = alive(torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21))
        ours, _ = assemble(TORCHVISION[name](name, peer.state_dict()))
    else:
        import segmentation_models_pytorch as smp

        peer = alive(getattr(smp, name)("resnet34", encoder_weights=None, classes=21))
        ours, _ = assemble(smp_peers.BUILDERS[name.lower()](peer.config, peer.state_dict()))  # type: ignore[arg-type]
    mean, std = torch.as_tensor(ours.backbone.mean), torch.as_tensor(ours.backbone.std)

    def call(images: Tensor) -> Tensor:
        found = peer((images.float() - mean) / std)
        return (found["out"] if isinstance(found, dict) else found).softmax(dim=1)

    return Pair(
        peer, call, ours, lambda model, images: difference(model(images)["segment"].probabilities, call(images))
    )
