"""Trains a detector on your own COCO file, measures it, and draws what it finds.

    python examples/detect_coco.py data/cells --epochs 20 --predict photos/ --pictures pictures/

The data are COCO's layout, ``data/cells/annotations/instances_train.json`` beside ``data/cells/train/*.jpg``, or one .json file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import vertebra


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="COCO folder or annotation file")
    parser.add_argument("--backbone", default="resnet50", help="any model of timm")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file of weights")
    parser.add_argument("--decoder", default="retinanet", help="or fcos, faster_rcnn, yolox, ssd, detr ...")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--out", help="run folder; left out, a new one under runs/")
    parser.add_argument("--predict", help="an image or a folder of images")
    parser.add_argument("--pictures", default="pictures", help="folder for the drawn images")
    args = parser.parse_args(argv)

    run = vertebra.train(
        data=args.data,
        model={
            "backbone": {"name": args.backbone, "pretrained": args.pretrained},
            "neck": "fpn",
            "decoder": args.decoder,
        },
        train={"epochs": args.epochs, "batch_size": args.batch_size, "image_size": list(args.image_size)},
        out=args.out,
    )
    scores = run.model.evaluate(args.data, split="val")
    print(f"COCO mAP {scores['detect/map']:.3f}, at IoU 0.5 {scores['detect/map_50']:.3f}")
    if args.predict:
        Path(args.pictures).mkdir(parents=True, exist_ok=True)
        for result in run.model.predict(args.predict, threshold=0.3):
            print(result.path, result.boxes.tolist())  # xyxy in pixels of the image itself
            result.draw().save(Path(args.pictures) / f"{result.path.stem}.png")


if __name__ == "__main__":
    main()
