"""Exports a trained model to ONNX, and predicts with the file in a process that does not import torch.

    python examples/export_and_run_without_torch.py export runs/cells cells.onnx
    python examples/export_and_run_without_torch.py predict cells.onnx photos/

The first command compares the file with the model before the file gets its name. The second needs `pip install '.[runtime]'` only
(numpy, Pillow and ONNX Runtime): preprocessing and decoding are those of the model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import vertebra


def export(source: str, file: str) -> None:
    """From a run folder or a .safetensors file to an .onnx file."""
    vertebra.load(source).export(file)
    print(f"{file}: equal to the model within 1e-4")


def predict(file: str, images: Sequence[str]) -> None:
    """Predictions in pixels of the images themselves, one line for each image."""
    model = vertebra.load(file)
    for result in model.predict(list(images)):
        print(result.path, dict(result.items()))
    if "torch" in sys.modules:
        raise SystemExit("torch was imported; this process should not need it")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    exporting = commands.add_parser("export", help="write an .onnx file")
    exporting.add_argument("source", help="run folder or .safetensors file")
    exporting.add_argument("file", help="the .onnx file to write")
    predicting = commands.add_parser("predict", help="predict with an exported file, without torch")
    predicting.add_argument("file", help="an .onnx file")
    predicting.add_argument("images", nargs="+", help="images, or folders of images")
    args = parser.parse_args(argv)
    if args.command == "export":
        export(args.source, args.file)
    else:
        predict(args.file, args.images)


if __name__ == "__main__":
    main()
