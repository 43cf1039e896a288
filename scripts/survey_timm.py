"""Measures, for the smallest model of each of timm's families, at which sizes its maps are aligned with the image.

    python scripts/survey_timm.py [FAMILY ...]

What it prints is what ``src/vertebra/backbones/alignment.py`` says. Nothing is computed: shapes alone, on the meta
device, at an odd size (193x131), at multiples of the coarsest stride, and with each constructor argument that frees the
input size.
"""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import timm
import torch

from vertebra.backbones import families

ATTEMPTS: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})


def build(name: str, **arguments: Any) -> Any:
    with torch.device("meta"):
        return timm.create_model(name, num_classes=0, **arguments).eval()


def aligned(model: Any, size: tuple[int, int]) -> bool:
    info = getattr(model.feature_info, "info", model.feature_info)
    try:
        images = torch.zeros(2, 3, *size, device="meta")
        _, maps = model.forward_intermediates(images, output_fmt="NCHW")
    except (RuntimeError, AssertionError, ValueError, NotImplementedError):
        return False
    wanted = [(2, f["num_chs"], *(math.ceil(side / f["reduction"]) for side in size)) for f in info]
    return [tuple(level.shape) for level in maps] == wanted


def measure(name: str) -> str:
    for arguments in ATTEMPTS:
        try:
            model = build(name, **arguments)
        except TypeError:
            continue
        info = getattr(model.feature_info, "info", model.feature_info)
        stride = max(f["reduction"] for f in info)
        said = f" with {arguments}" if arguments else ""
        if aligned(model, (193, 131)):
            return "any" + said
        if aligned(model, (stride * 3, stride * 2)):
            return "multiple" + said
    try:
        if aligned(build(name, img_size=(stride * 4, stride * 3)), (stride * 4, stride * 3)):
            return "sized"
    except (TypeError, RuntimeError, AssertionError, ValueError):
        pass  # no such argument, or no such size: then only its own size is left
    model = build(name)
    return "native" if aligned(model, tuple(model.pretrained_cfg["input_size"][1:])) else "refused"


def main() -> None:
    warnings.simplefilter("ignore")
    for family in families():
        if len(sys.argv) > 1 and family.name not in sys.argv[1:]:
            continue
        told = measure(family.example)
        mark = "" if told.split()[0] == family.kind else f"   <- the table says {family.kind}"
        print(f"{family.name:<28} {family.example:<36} {told}{mark}", flush=True)


if __name__ == "__main__":
    main()
