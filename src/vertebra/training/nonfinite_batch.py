"""The images and targets of a step whose loss was not finite, saved for inspection."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.utils import _pytree as tree

from vertebra.data.batches import Batch
from vertebra.messages import emit
from vertebra.strict_json import to_json

FOLDER = "nonfinite_batch"


def write_nonfinite_batch(folder: Path, step: Sequence[Batch], facts: Mapping[str, Any]) -> Path | None:
    """Replaces the saved step of a run.

    ``batch.safetensors`` has all tensors as the network got them, and ``batch.json`` the files they come from; images of one or
    three channels are also PNG files.

    Args:
        folder: is created.
        step: the micro batches.
        facts: more entries for ``batch.json``.

    Returns:
        The folder; None if it cannot be written, which is printed.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        images = [
            {
                "file": str(origin.path),
                "micro_batch": number,
                "row": row,
                "picture": _write_picture(folder, number, row, micro),
            }
            for number, micro in enumerate(step)
            for row, origin in enumerate(micro.origins)
        ]
        save_file(_tensors(step), folder / "batch.safetensors")
        text, _ = to_json({**facts, "images": images}, indent=2)
        (folder / "batch.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        emit(f"{folder}: the batch could not be saved ({error.strerror or error})")
        return None
    return folder


def _write_picture(folder: Path, number: int, row: int, micro: Batch) -> str | None:
    """The name of the PNG file of an image; None if it has neither one nor three channels."""
    pixels = micro.images[row].cpu()
    if pixels.shape[0] not in (1, 3):
        return None
    name = f"{number}-{row:03d}-{micro.origins[row].path.stem[:60]}.png"
    picture = pixels.permute(1, 2, 0).squeeze(-1).contiguous().numpy()
    Image.fromarray(picture).save(folder / name, compress_level=1)
    return name


def _tensors(step: Sequence[Batch]) -> dict[str, Tensor]:
    """All tensors of a step, by micro batch, branch and field."""
    tensors: dict[str, Any] = {}
    for number, micro in enumerate(step):
        tensors |= {f"{number}.images": micro.images, f"{number}.sizes": micro.sizes}
        for name, branch in micro.targets.items():
            tensors[f"{number}.{name}.rows"] = branch.rows
            leaves, _ = tree.tree_flatten_with_path(branch.targets)
            tensors |= {f"{number}.{name}.targets{tree.keystr(path)}": value for path, value in leaves}
    return {
        name: value.detach().cpu().contiguous().clone() for name, value in tensors.items() if isinstance(value, Tensor)
    }
