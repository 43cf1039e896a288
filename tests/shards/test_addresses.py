"""Runs keep the addresses of their data as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from vertebra.config import Config
from vertebra.errors import ConfigError
from vertebra.training.data_paths import check_data_exists, locate, move, with_absolute_paths

MODEL = {"backbone": "resnet18", "decoder": "linear"}


@pytest.mark.parametrize("address", ["https://host/set", "s3://bucket/set", "hf:owner/name:small"])
def test_an_address_stays_as_it_is(address: str, tmp_path: Path) -> None:
    config = Config.from_raw({"data": {"train": [{"path": address}], "val": [{"path": address}]}, "model": MODEL})
    kept = with_absolute_paths(config)
    assert kept.data.train[0].path == address
    located = locate(kept, tmp_path, str(tmp_path / "before"))
    assert located.data.val[0].path == address
    check_data_exists(located.data.val, tmp_path, None)
    (tmp_path / "copy").mkdir()
    assert move(config, tmp_path / "copy").data.train[0].path == str(tmp_path / "copy")
    assert move(config, "https://other/set").data.train[0].path == "https://other/set"
    with pytest.raises(ConfigError, match="no such folder or file"):
        move(config, tmp_path / "missing")
    several = Config.from_raw({"data": {"train": [{"path": address}], "val": [{"path": "here"}]}, "model": MODEL})
    with pytest.raises(ConfigError, match="one of them at an address; name each"):
        move(several, tmp_path / "copy")
