"""Trains one backbone for three tasks at once, on data sets that are labeled for different tasks.

    python examples/three_tasks_one_backbone.py --classes data/photos --boxes data/coco --masks data/masks

Each image teaches only the branches that it is labeled for. The backbone runs once for each image, however many branches
the model has.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import vertebra


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", required=True, help="data for classification, such as a folder of class folders")
    parser.add_argument("--boxes", required=True, help="data for detection, such as COCO or Pascal VOC")
    parser.add_argument("--masks", required=True, help="data for segmentation, such as images with masks")
    parser.add_argument("--backbone", default="resnet50", help="any model of timm")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file of weights")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--image-size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--out", help="run folder; left out, a new one under runs/")
    parser.add_argument("--predict", help="an image or a folder of images")
    args = parser.parse_args(argv)

    run = vertebra.train(
        data={
            "train": [
                {"path": args.classes, "branches": ["animal"]},
                {"path": args.boxes, "branches": ["boxes"]},
                {"path": args.masks, "branches": ["regions"], "ratio": 0.5},  # half of them in each epoch
            ]
        },
        model={
            "backbone": {"name": args.backbone, "pretrained": args.pretrained},
            "branches": {
                "animal": {"decoder": "linear"},
                "boxes": {"neck": "fpn", "decoder": "retinanet"},
                "regions": {"encoder": "aspp", "decoder": "deeplabv3plus", "weight": 0.5},
            },
        },
        train={"epochs": args.epochs, "batch_size": args.batch_size, "image_size": list(args.image_size)},
        out=args.out,
    )
    print({name: round(value, 3) for name, value in run.metrics.items()})
    if args.predict:
        for result in run.model.predict(args.predict):
            print(result.path, result["animal"], result["boxes"], result["regions"], sep="\n  ")


if __name__ == "__main__":
    main()
