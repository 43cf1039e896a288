"""Trains a segmentation model on images with masks, measures it, and writes the predicted masks.

    python examples/segment.py data/roads --ignore-index 255 --predict photos/ --masks masks/

The data are parallel folders, ``data/roads/images/train/1.png`` and ``data/roads/masks/train/1.png``, whose pixel values are
class ids; ``classes.txt`` beside them has a class name a line. COCO polygons work as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import vertebra


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of images and masks")
    parser.add_argument("--ignore-index", type=int, help="mask value of pixels that do not count")
    parser.add_argument("--backbone", default="resnet50", help="any model of timm")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file of weights")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, nargs=2, default=(512, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--out", help="run folder; left out, a new one under runs/")
    parser.add_argument("--predict", help="an image or a folder of images")
    parser.add_argument("--masks", default="masks", help="folder for the predicted masks, whose values are class ids")
    args = parser.parse_args(argv)

    run = vertebra.train(
        data={"path": args.data, "ignore_index": args.ignore_index},
        model={
            "backbone": {"name": args.backbone, "pretrained": args.pretrained},
            "encoder": "aspp",
            "decoder": {"name": "deeplabv3plus", "loss": {"cross_entropy": 1.0, "dice": 0.5}},
        },
        train={"epochs": args.epochs, "batch_size": args.batch_size, "image_size": list(args.image_size)},
        out=args.out,
    )
    print(f"mean IoU: {run.metrics['segment/mean_iou']:.3f}")
    if args.predict:
        Path(args.masks).mkdir(parents=True, exist_ok=True)
        for result in run.model.predict(args.predict):
            ids = np.asarray(result["segment"].mask, dtype=np.uint8)  # at the image's own size
            Image.fromarray(ids).save(Path(args.masks) / f"{result.path.stem}.png")


if __name__ == "__main__":
    main()
