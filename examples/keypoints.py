"""Trains a detector and a pose branch on one backbone: the pose branch reads the features inside each detected box.

    python examples/keypoints.py data/people --image-size 480 640 --predict photos/

The data are a COCO file with keypoints, or DeepLabCut's tables. The names of the points, the skeleton and the pairs that
change sides in a mirrored image come from the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import vertebra


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="COCO folder or annotation file with keypoints")
    parser.add_argument("--backbone", default="resnet50", help="any model of timm")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file of weights")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--out", help="run folder; left out, a new one under runs/")
    parser.add_argument("--predict", help="an image or a folder of images")
    args = parser.parse_args(argv)

    run = vertebra.train(
        data=args.data,
        model={
            "backbone": {"name": args.backbone, "pretrained": args.pretrained},
            "branches": {
                "object": {"neck": "fpn", "decoder": "fcos"},
                "pose": {"neck": "fpn", "decoder": "heatmap", "boxes_from": "object"},
            },
        },
        train={"epochs": args.epochs, "batch_size": args.batch_size, "image_size": list(args.image_size)},
        out=args.out,
    )
    print(f"mAP by object keypoint similarity: {run.metrics['pose/oks_map']:.3f}")
    if args.predict:
        for result in run.model.predict(args.predict):
            print(result.path, result["pose"])
            for points in result["pose"].points:  # (K, 2) x, y in pixels of the image itself, for each object
                print(points.round(1).tolist())


if __name__ == "__main__":
    main()
