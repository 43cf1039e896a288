"""Writes a neck and a decoder, checks them against the contract of the library's own parts, and trains a model with them.

    python examples/own_neck_and_decoder.py data/pets --classes cat dog --epochs 10

The data are a folder for each class. CONTRIBUTING.md explains the contract and has longer examples.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import vertebra
from vertebra.decoders.base import Decoder
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.losses.classification import cross_entropy
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.targets import ClassifyDecoded, ClassifyTargets
from vertebra.testing import check_decoder, check_feature_part, fake_labels


class SameWidth(nn.Module):
    """A neck: brings every level to the same number of channels."""

    def __init__(self, in_spec: FeatureSpec, *, channels: int = 64) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(level.channels, channels, 1) for level in in_spec.levels)
        self.out_spec = in_spec.with_levels([Level(channels, level.stride) for level in in_spec.levels])

    def forward(self, features: Features) -> Features:
        return features.with_maps([conv(level) for conv, level in zip(self.convs, features.maps, strict=True)])


class Logits(NamedTuple):
    logits: Tensor  # (N, K)


class MaxPoolClassifier(Decoder):
    """A decoder: the maximum of each channel of each level, then one linear layer."""

    task, terms = "classify", ("cross_entropy",)

    def __init__(self, in_spec: FeatureSpec, labels: ClassifyLabels, *, dropout: float = 0.2) -> None:
        super().__init__(in_spec, labels)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(sum(in_spec.channels), labels.class_count))

    def forward(self, features: Features, proposals: Any = None) -> Logits:
        return Logits(self.classifier(torch.cat([level.amax((2, 3)) for level in features.maps], dim=1)))

    def loss(self, features: Features, targets: ClassifyTargets) -> tuple[dict[str, LossTerm], Logits]:
        outputs = self(features)
        return {"cross_entropy": cross_entropy(outputs.logits, targets.labels)}, outputs

    def decode(self, outputs: Logits, frame: Frame) -> ClassifyDecoded:
        return ClassifyDecoded(outputs.logits.softmax(dim=1))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of class folders")
    parser.add_argument("--classes", nargs="+", required=True, help="names of the classes")
    parser.add_argument("--backbone", default="resnet50", help="any model of timm")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file of weights")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224, help="side of the canvas in pixels")
    parser.add_argument("--out", help="run folder; left out, a new one under runs/")
    args = parser.parse_args(argv)

    in_spec = FeatureSpec((Level(16, 8), Level(32, 16)))
    check_feature_part(SameWidth(in_spec), in_spec)
    check_decoder(MaxPoolClassifier, in_spec, fake_labels("classify"))

    model = vertebra.create_model(
        {"name": args.backbone, "pretrained": args.pretrained},
        neck=SameWidth,
        decoder=MaxPoolClassifier,
        classes=args.classes,
        image_size=args.image_size,
    )
    run = model.fit(args.data, epochs=args.epochs, batch_size=args.batch_size, out=args.out)
    print(run.metrics)


if __name__ == "__main__":
    main()
