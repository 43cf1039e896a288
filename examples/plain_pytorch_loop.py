"""Trains a model in a plain PyTorch loop: a `VisionModel` is an `nn.Module`, and nothing here needs Lightning.

    python examples/plain_pytorch_loop.py data/pets --epochs 5 --save pets.safetensors

The data are a folder for each class, ``data/pets/cat/1.jpg``. The model takes uint8 images in 0..255 and normalizes them itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import vertebra
from vertebra.tasks.classify.targets import ClassifyTargets


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of class folders")
    parser.add_argument("--backbone", default="resnet50", help="any model of timm")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file of weights")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224, help="side of the canvas in pixels")
    parser.add_argument("--save", default="model.safetensors", help="file for the trained model")
    args = parser.parse_args(argv)

    canvas = (args.image_size, args.image_size)
    data = ImageFolder(args.data, v2.Compose([v2.Resize(canvas), v2.RandomHorizontalFlip(), v2.PILToTensor()]))
    loader = DataLoader(data, batch_size=args.batch_size, shuffle=True, drop_last=len(data) > args.batch_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = vertebra.create_model(
        {"name": args.backbone, "pretrained": args.pretrained},
        decoder="linear",
        classes=data.classes,
        image_size=canvas,
        resize="resize",  # as v2.Resize above: the whole image, stretched
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)

    for epoch in range(args.epochs):
        model.train()
        total, count = 0.0, 0.0
        for images, labels in loader:
            rows = torch.arange(len(images))  # which images are labeled for the branch: here all
            sizes = torch.tensor([canvas] * len(images))  # valid pixels of each canvas
            targets = {"classify": (rows.to(device), ClassifyTargets(labels.to(device)))}
            terms, _ = model.loss(images.to(device), sizes.to(device), targets)
            loss = sum(term.mean() for term in terms["classify"].values())  # a term is a sum with its count
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total, count = total + loss.item() * len(images), count + len(images)
        print(f"epoch {epoch + 1}: loss {total / count:.3f}")

    model.eval()
    model.save(args.save)
    print(vertebra.load(args.save).predict(data.samples[0][0])[0])


if __name__ == "__main__":
    main()
