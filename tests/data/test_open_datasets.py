"""Opening the data sets of a config: what is wrong with them is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vertebra.config import Config
from vertebra.data.open_datasets import open_split
from vertebra.errors import DataError

Coco = Callable[..., Path]


def test_a_missing_split_does_not_hide_what_is_wrong_with_the_others(coco: Coco) -> None:
    shares = [{"image_id": 10 + image, "category_id": 7, "bbox": [0.1, 0.2, 0.3, 0.4]} for image in range(3)]
    path = coco(shares, name="val.json")
    model = {"task": "detect", "backbone": "resnet10t", "decoder": "fcos"}
    config = Config.from_raw({"data": str(path.parent), "model": model})
    with pytest.raises(
        DataError, match=r"no split 'train'; there is: val\. Nor can its split 'val' be read: .* shares"
    ):
        open_split(config, "train")
    coco([{**one, "bbox": [1, 2, 3, 4]} for one in shares], name="val.json")
    with pytest.raises(DataError, match=r"no split 'train'; there is: val$"):
        open_split(config, "train")
