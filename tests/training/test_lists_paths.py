"""The list files of a run's data: stored as absolute paths, and found again when the data move."""

from __future__ import annotations

from pathlib import Path

import pytest

from vertebra.config import Config
from vertebra.training.data_paths import move, with_absolute_paths


def config(data: Path, lists: Path | str) -> Config:
    raw = {"data": {"path": str(data), "lists": str(lists)}, "model": {"backbone": "test_resnet", "decoder": "linear"}}
    return Config.from_raw(raw)


def test_lists_are_stored_as_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored = with_absolute_paths(config(Path("cells"), "cells_split"))
    assert {source.lists for source in (*stored.data.train, *stored.data.val)} == {str(tmp_path / "cells_split")}


def test_lists_in_the_data_set_move_with_it_and_others_stay(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old / "lists", new / "lists"):
        folder.mkdir(parents=True)
    assert move(config(old, old / "lists"), new).data.train[0].lists == str(new / "lists")
    assert move(config(old, tmp_path / "beside"), new).data.train[0].lists == str(tmp_path / "beside")


def test_the_check_is_an_option_of_the_data(tmp_path: Path) -> None:
    raw = {"data": {"path": str(tmp_path), "check": False}, "model": {"backbone": "test_resnet", "decoder": "linear"}}
    assert Config.from_raw(raw).data.check is False and config(tmp_path, tmp_path).data.check is True
