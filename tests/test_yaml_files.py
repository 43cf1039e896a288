"""YAML from files and the command line: what it may say, and what it must not be able to do."""

from __future__ import annotations

import itertools
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from vertebra.config import Config, override, read_raw
from vertebra.errors import ConfigError
from vertebra.yaml_files import MAX_CHARACTERS, parse_yaml

LETTERS = "abcdefghij"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in itertools.pairwise(LETTERS)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join(['*' + before] * 9)}]}}\n" for before, name in itertools.pairwise(LETTERS)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases expand to more than"),
        (MERGES, "aliases expand to more than"),
        ("a: &a " + "x" * 100_000 + "\nb: [" + ", ".join(["*a"] * 100) + "]", "aliases expand to more than"),
        ("a: &a [*a]", "an alias refers to a node around itself"),
        ("a: &a {b: *a}", "an alias refers to a node around itself"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 20_000, "nested too deeply"),
        ("{a: " * 2_000, "nested too deeply"),
        ("a: " + "1" * 5000, "a value cannot be read"),
        ("a: 2001-99-99", "a value cannot be read"),
        ("a: !!int ''", "a value cannot be read"),
        ("a: !!timestamp x", "a value cannot be read"),
        ("a: !!bool x", "a value cannot be read"),
        ("train: {lr: 1}\ntrain: {lr: 2}", "the key 'train' occurs twice, line 2"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: 1\n---\na: 2", "another document"),
        ("a: \0", "special characters are not allowed"),
        ("x" * (MAX_CHARACTERS + 1), "longer than"),
    ],
    ids=lambda value: " ".join(value[:24].split()),
)
def test_yaml_that_harms_or_is_none_is_refused_quickly(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for read in (lambda: read_raw(file), lambda: override({}, [f"model={text}"])):
        with pytest.raises(ConfigError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert time.process_time() - began < 20, "seconds, on a busy machine"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kilobytes"


def test_aliases_in_moderation_are_fine() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]") == {
        "a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}],
    }  # fmt: skip
    assert parse_yaml("\ufeffa: 1") == {"a": 1} and parse_yaml("") is None


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xef\xbb\xbfdata: x\n")
    assert read_raw(file) == {"data": "x"}


@pytest.mark.parametrize(
    ("raw", "assignment", "wanted"),
    [
        ({"data": "d"}, "data.ignore_index=255", {"data": {"path": "d", "ignore_index": 255}}),
        ({"data": Path("d")}, "data.ratio=2", {"data": {"path": "d", "ratio": 2}}),
        ({"data": {"train": "d"}}, "data.train.split=val", {"data": {"train": {"path": "d", "split": "val"}}}),
        ({"data": {"train": ["d"]}}, "data.train.0.ratio=2", {"data": {"train": [{"path": "d", "ratio": 2}]}}),
        ({"model": {"backbone": "r"}}, "model.backbone.freeze=1", {"model": {"backbone": {"name": "r", "freeze": 1}}}),
        ({"model": {"neck": "fpn"}}, "model.neck.channels=8", {"model": {"neck": {"name": "fpn", "channels": 8}}}),
        ({"a": {"decoder": "fcos"}}, "a.decoder.loss.iou=0.6", {"a": {"decoder": {"name": "fcos", "loss": {"iou": 0.6}}}}),
        ({"train": None}, "train.epochs=5", {"train": {"epochs": 5}}),
    ],
)  # fmt: skip
def test_an_override_reaches_into_a_short_form(raw: dict[str, Any], assignment: str, wanted: dict[str, Any]) -> None:
    before = repr(raw)
    assert override(raw, [assignment]) == wanted
    assert repr(raw) == before, "what was given stays as it was"


def test_overridden_short_forms_are_valid() -> None:
    raw = {"data": "d", "model": {"backbone": "resnet10t", "neck": "fpn", "decoder": "unet"}}
    config = Config.from_raw(override(raw, ["data.ignore_index=7", "model.neck.channels=8", "model.backbone.freeze=1"]))
    assert [source.ignore_index for source in config.data.train + config.data.val] == [7, 7]
    assert config.model.branches["segment"].neck is not None
    assert config.model.branches["segment"].neck.options == {"channels": 8}
    assert config.model.backbone.options == {"freeze": 1}


def test_an_override_that_leads_nowhere_is_told() -> None:
    for raw, assignment, message in (
        ({"train": 3}, "train.epochs=1", "'train' is no mapping"),
        ({"data": {"train": ["a"]}}, "data.train.5.ratio=1", "there is no entry 5 in a list of 1"),
        (
            {"data": {"train": ["a"]}},
            "data.train.ratio=1",
            "'train' is no mapping, it is a list: name one of its entries",
        ),
        ({}, "=5", "write key=value"),
    ):
        with pytest.raises(ConfigError, match=message):
            override(raw, [assignment])


@pytest.mark.parametrize("word", ["no", "No", "False", "FALSE", "off"])
def test_words_for_no_are_no_weight_files(word: str) -> None:
    raw = {"data": "d", "model": {"backbone": {"name": "r", "pretrained": word}, "decoder": "linear"}}
    assert Config.from_raw(raw).model.backbone.options["pretrained"] is False
    raw["model"]["backbone"]["pretrained"] = {"no": "yes", "off": "on"}.get(word.lower(), "True")  # type: ignore[index]
    assert Config.from_raw(raw).model.backbone.options["pretrained"] is True
    raw["model"]["backbone"]["pretrained"] = "weights.safetensors"  # type: ignore[index]
    assert Config.from_raw(raw).model.backbone.options["pretrained"] == "weights.safetensors"
