"""What a user would do without Vertebra: the published recipes of torchvision, segmentation-models-pytorch and timm, and a plain
regression of keypoints, all on MobileNetV2. Nothing of Vertebra is imported here.

A recipe's schedule is a function of the share of the time that is over, so that it ends where the time does. Batches are those of
the recipe, but at most an eighth of the training images, so that an epoch of a small set has steps; rates that the recipe scales
with the batch are scaled.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.training_loop import Peer, PeerData

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Layer = Callable[..., nn.Module]


def mobilenet(weights: Path | None, norm_layer: Layer | None = None) -> torchvision.models.MobileNetV2:
    """torchvision's MobileNetV2.

    Args:
        weights: a ``.safetensors`` file with torchvision's names; None: it begins at random.
        norm_layer: in place of batch norms.
    """
    model = torchvision.models.mobilenet_v2(weights=None, norm_layer=norm_layer)
    if weights is not None:
        model.load_state_dict(load_file(weights))
    return model


def scaled_pixels(image: Image.Image, size: tuple[int, int] | None = None) -> Tensor:
    """(3, H, W) float32 in 0..1, stretched to a size."""
    pixels = v2.functional.to_dtype(v2.functional.pil_to_tensor(image), torch.float32, scale=True)
    return pixels if size is None else v2.functional.resize(pixels, list(size), antialias=True)


def normalized(pixels: Tensor) -> Tensor:
    """With ImageNet's mean and spread."""
    return v2.functional.normalize(pixels, list(MEAN), list(STD))


class TorchvisionDetector(Peer):
    """torchvision's references/detection/train.py with its defaults for one device.

    SGD with momentum 0.9 and weight decay 1e-4; 2 images a batch; the rate 0.02 for 16 images (0.01 for RetinaNet and FCOS, as its
    README has it) scaled to the batch; divided by ten after 16 and 22 of 26 epochs; warmed up over the first epoch, at most 1000
    steps (engine.py); mirrored images. Of the backbone the last three of six stages are trained and the norms are frozen, as in
    torchvision's detectors on MobileNets.

    Args:
        name: "retinanet", "fcos" or "faster_rcnn".
    """

    source = "pytorch/vision, references/detection (train.py, engine.py, README.md)"
    recipe_batch = 2

    def __init__(self, data: PeerData, name: str = "retinanet") -> None:
        super().__init__(data)
        self.name = name
        self.module = _detector(name, data)

    def example(self, image: Image.Image, target: Any) -> tuple[Any, Any]:
        boxes, labels = target
        pixels, boxes = scaled_pixels(image), torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)  # torchvision refuses boxes without area
        boxes, labels = boxes[kept], torch.as_tensor(labels, dtype=torch.int64)[kept]
        if random.random() < 0.5:
            pixels = pixels.flip(-1)
            boxes = boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([1, 0, 1, 0]) * image.width
        return pixels, {"boxes": boxes, "labels": labels + 1}

    def loss(self, images: Sequence[Any], targets: Sequence[Any]) -> Tensor:
        return torch.stack(list(self.module(list(images), list(targets)).values())).sum()

    def optimizer(self) -> torch.optim.Optimizer:
        rate = (0.02 if self.name == "faster_rcnn" else 0.01) * self.batch_size / 16
        trained = [weight for weight in self.module.parameters() if weight.requires_grad]
        return torch.optim.SGD(trained, lr=rate, momentum=0.9, weight_decay=1e-4)

    def factor(self, share: float, step: int, epoch_steps: int) -> float:
        warm = max(1, min(1000, epoch_steps - 1))
        warmed = 1e-3 + (1 - 1e-3) * min(1.0, step / warm)
        return float(warmed * 0.1 ** ((share >= 16 / 26) + (share >= 22 / 26)))

    def predict(self, image: Image.Image) -> Mapping[str, np.ndarray]:
        output = self.module([scaled_pixels(image)])[0]
        return {name: value.numpy() - (name == "labels") for name, value in output.items()}


def _detector(name: str, data: PeerData) -> nn.Module:
    from torchvision.models import detection
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7
    from torchvision.ops.misc import FrozenBatchNorm2d

    features = mobilenet(data.weights, None if data.weights is None else FrozenBatchNorm2d).features
    if data.weights is not None:
        features[:7].requires_grad_(False)
    layers, widths = ["6", "13", "17"], [32, 96, 320]  # of reductions 8, 16 and 32
    extra: nn.Module = LastLevelP6P7(256, 256)
    if name == "faster_rcnn":
        layers, widths, extra = ["3", *layers], [24, *widths], LastLevelMaxPool()
    returned = {layer: str(level) for level, layer in enumerate(layers)}
    backbone = BackboneWithFPN(features, returned, widths, 256, extra_blocks=extra)
    build: Any = {
        "retinanet": detection.RetinaNet,
        "fcos": detection.FCOS,
        "faster_rcnn": detection.FasterRCNN,
    }[name]
    return build(backbone, data.classes + 1, min_size=min(data.size), max_size=max(data.size))  # type: ignore[no-any-return]


class SmpSegmenter(Peer):
    """segmentation-models-pytorch's examples/camvid_segmentation_multiclass.ipynb.

    Unet, Dice loss, Adam at 2e-4 with cosine annealing to 1e-5, 32 images a batch. Its augmentation, with torchvision's operations:
    mirrored; shifted by up to a tenth and scaled by 0.5 to 1.5; cropped to a square; noise; perspective; changed contrast;
    sharpened or blurred; changed color. Pixels outside the image do not count, nor do those with the ignore index.
    """

    source = "qubvel-org/segmentation_models.pytorch, examples/camvid_segmentation_multiclass.ipynb"
    recipe_batch = 32

    def __init__(self, data: PeerData) -> None:
        super().__init__(data)
        import segmentation_models_pytorch as smp

        self.module = smp.Unet("mobilenet_v2", encoder_weights=None, classes=data.classes)
        if data.weights is not None:
            self.module.encoder.load_state_dict(load_file(data.weights))
        self._dice = smp.losses.DiceLoss("multiclass", from_logits=True, ignore_index=data.ignore_index)
        side = max(32, min(data.size) // 32 * 32)
        outside = {tv_tensors.Image: 0, tv_tensors.Mask: data.ignore_index}
        contrast = v2.ColorJitter(brightness=0.2, contrast=0.2)
        self._augment = v2.Compose(
            [
                v2.RandomHorizontalFlip(0.5),
                v2.RandomAffine(0, translate=(0.1, 0.1), scale=(0.5, 1.5), fill=outside),  # type: ignore[arg-type]
                v2.RandomCrop((side, side), pad_if_needed=True, fill=outside),  # type: ignore[arg-type]
                v2.RandomApply([v2.GaussianNoise(sigma=0.05)], 0.2),
                v2.RandomPerspective(0.2, 0.5, fill=outside),  # type: ignore[arg-type]
                v2.RandomApply([contrast], 0.9),
                v2.RandomApply([v2.RandomChoice([v2.RandomAdjustSharpness(2, 1.0), v2.GaussianBlur(3)])], 0.9),
                v2.RandomApply([v2.RandomChoice([contrast, v2.ColorJitter(saturation=0.2, hue=0.05)])], 0.9),
            ]
        )

    def example(self, image: Image.Image, target: Any) -> tuple[Any, Any]:
        mask = torch.from_numpy(np.asarray(target).astype(np.int64))[None]
        mask = v2.functional.resize(mask, list(self.data.size), interpolation=v2.InterpolationMode.NEAREST)
        pixels, mask = self._augment(tv_tensors.Image(scaled_pixels(image, self.data.size)), tv_tensors.Mask(mask))
        return normalized(pixels.as_subclass(Tensor)), mask.as_subclass(Tensor)[0]

    def loss(self, images: Sequence[Any], targets: Sequence[Any]) -> Tensor:
        loss: Tensor = self._dice(self.module(torch.stack(list(images))).contiguous(), torch.stack(list(targets)))
        return loss

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.module.parameters(), lr=2e-4)

    def factor(self, share: float, step: int, epoch_steps: int) -> float:
        return 0.05 + 0.95 * half_cosine(share)

    def predict(self, image: Image.Image) -> np.ndarray:
        height, width = self.data.size
        pixels = normalized(scaled_pixels(image, self.data.size))
        logits = self.module(F.pad(pixels, (0, -width % 32, 0, -height % 32))[None])[..., :height, :width]
        mask: np.ndarray = F.interpolate(logits, image.size[::-1], mode="bilinear").argmax(dim=1)[0].numpy()
        return mask


class TimmClassifier(Peer):
    """timm's train.py with its defaults.

    SGD with Nesterov momentum 0.9 and weight decay 2e-5, 128 images a batch, the rate 0.1 for 256 images scaled to the batch,
    cosine to 0, 5 of 300 epochs of warm-up from 1e-5, label smoothing 0.1; timm's own transforms: crops of 8 to 100 % of the area,
    mirrored, color jitter 0.4. These defaults are for training from scratch, and their rate is unstable at first on pretrained
    weights; hence the warm-up lasts one epoch at least, and there is a variant with `--opt adamw --lr 1e-4`.

    Args:
        adamw: whether it is that variant.
    """

    source = "huggingface/pytorch-image-models, train.py"
    recipe_batch = 128

    def __init__(self, data: PeerData, adamw: bool = False) -> None:
        super().__init__(data)
        import timm

        self.module = timm.create_model("mobilenetv2_100", num_classes=data.classes)
        if data.weights is not None:
            names = [name for name in self.module.state_dict() if not name.startswith("classifier.")]
            body = list(mobilenet(data.weights).state_dict().values())[:-2]
            self.module.load_state_dict(dict(zip(names, body, strict=True)), strict=False)
        config = timm.data.resolve_data_config({"input_size": (3, *data.size)}, model=self.module)
        self._crop = timm.data.create_transform(**config)
        config.pop("crop_pct")
        self._augment = timm.data.create_transform(**{**config, "interpolation": "random"}, is_training=True)
        self._name, self._rate = ("adamw", 1e-4) if adamw else ("sgd", 0.1 * self.batch_size / 256)

    def example(self, image: Image.Image, target: Any) -> tuple[Any, Any]:
        return self._augment(image), target

    def loss(self, images: Sequence[Any], targets: Sequence[Any]) -> Tensor:
        return F.cross_entropy(self.module(torch.stack(list(images))), torch.tensor(targets), label_smoothing=0.1)

    def optimizer(self) -> torch.optim.Optimizer:
        import timm.optim

        options = {"lr": self._rate, "weight_decay": 2e-5, "momentum": 0.9}
        optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(self.module, self._name, **options)
        return optimizer

    def factor(self, share: float, step: int, epoch_steps: int) -> float:
        start = 1e-5 / self._rate
        return half_cosine(share) * (start + (1 - start) * min(1.0, share / (5 / 300), step / epoch_steps))

    def predict(self, image: Image.Image) -> np.ndarray:
        probabilities: np.ndarray = self.module(self._crop(image)[None])[0].softmax(dim=0).numpy()
        return probabilities


class PointRegressor(Peer):
    """A plain regression: the pooled features of MobileNetV2, one linear layer to x and y of each point as shares of the canvas,
    smooth L1 with a bend at 2 % of it, AdamW at 1e-3 with a cosine, 16 images a batch; changed color, shifted by up to 5 %, scaled
    by up to 10 %.
    """

    source = "a plain regression of coordinates"
    recipe_batch = 16

    def __init__(self, data: PeerData) -> None:
        super().__init__(data)
        pooling = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.module = nn.Sequential(
            mobilenet(data.weights).features, *pooling, nn.Linear(1280, 2 * len(data.targets[0]))
        )
        self._jitter = v2.ColorJitter(0.3, 0.3, 0.3, 0.02)

    def example(self, image: Image.Image, target: Any) -> tuple[Any, Any]:
        pixels = self._jitter(scaled_pixels(image, self.data.size))
        height, width = self.data.size
        scale, shift = random.uniform(0.9, 1.1), (random.uniform(-0.05, 0.05), random.uniform(-0.05, 0.05))
        offset = [shift[0] * width, shift[1] * height]
        pixels = v2.functional.affine(pixels, 0.0, offset, scale, [0.0, 0.0])
        shares = torch.as_tensor(target[:, :2], dtype=torch.float32) / torch.tensor(image.size)
        points = (shares - 0.5) * scale + 0.5 + torch.tensor(shift)
        return normalized(pixels), (points, torch.as_tensor(target[:, 2] > 0))

    def loss(self, images: Sequence[Any], targets: Sequence[Any]) -> Tensor:
        points, known = (torch.stack(list(values)) for values in zip(*targets, strict=True))
        output = self.module(torch.stack(list(images))).reshape(points.shape)
        return F.smooth_l1_loss(output[known], points[known], beta=0.02)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.module.parameters(), lr=1e-3)

    def factor(self, share: float, step: int, epoch_steps: int) -> float:
        return half_cosine(share)

    def predict(self, image: Image.Image) -> np.ndarray:
        shares = self.module(normalized(scaled_pixels(image, self.data.size))[None])[0].reshape(-1, 2)
        points: np.ndarray = (shares * torch.tensor(image.size)).numpy()
        return points


def half_cosine(share: float) -> float:
    """From 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * share))


PEERS: Mapping[str, Mapping[str, Callable[[PeerData], Peer]]] = {
    "detect": {
        "torchvision RetinaNet": TorchvisionDetector,
        "torchvision FCOS": lambda data: TorchvisionDetector(data, "fcos"),
        "torchvision Faster R-CNN": lambda data: TorchvisionDetector(data, "faster_rcnn"),
    },
    "segment": {"smp Unet": SmpSegmenter},
    "classify": {
        "timm train.py": TimmClassifier,
        "timm train.py, AdamW 1e-4": lambda data: TimmClassifier(data, adamw=True),
    },
    "keypoints": {"plain regression": PointRegressor},
}
"""By task and name; the first of a task is its default."""
