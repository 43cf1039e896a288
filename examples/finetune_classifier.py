"""Fine-tunes a pretrained backbone on a folder of class folders, measures it, and classifies images.

    python examples/finetune_classifier.py data/pets --epochs 10 --predict photos/

The data are a folder for each class, with or without ``train``, ``val`` and ``test`` above them: ``data/pets/cat/1.jpg``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import vertebra


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of class folders")
    parser.add_argument("--backbone", default="convnext_tiny", help="any model of timm")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file of weights")
    parser.add_argument("--freeze", type=int, default=0, help="how many stages of the backbone stay as they are")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224, help="side of the canvas in pixels")
    parser.add_argument("--out", help="run folder; left out, a new one under runs/")
    parser.add_argument("--predict", help="an image or a folder of images to classify afterwards")
    args = parser.parse_args(argv)

    # the classes are the names of the folders, so that none is typed here
    run = vertebra.train(
        data=args.data,
        model={
            "backbone": {"name": args.backbone, "pretrained": args.pretrained, "freeze": args.freeze},
            "decoder": {"name": "linear", "dropout": 0.3, "label_smoothing": 0.1},
        },
        train={"epochs": args.epochs, "batch_size": args.batch_size, "image_size": args.image_size},
        out=args.out,
    )
    print(f"top-1 accuracy: {run.model.evaluate(args.data)['classify/accuracy']:.1%}")
    if args.predict:
        for result in run.model.predict(args.predict):
            print(result.path, result)


if __name__ == "__main__":
    main()
