"""The prefix of a checkpoint's names is determined by matching them with a module, for any prefix."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vertebra.checkpoints import LoadReport, choose, choose_before, load_file
from vertebra.errors import WeightsError


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.Sequential(block, nn.Conv2d(4, 5, 1), nn.Linear(5, 2))


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def loaded(tmp_path: Path, content: Any) -> tuple[nn.Module, LoadReport]:
    torch.save(content, tmp_path / "w.pth")
    module = network(99)
    return module, load_file(module, tmp_path / "w.pth")


STATE = network(1).state_dict()
OTHER = network(2).state_dict()


@pytest.mark.parametrize(
    ("content", "prefix"),
    [
        (STATE, ""),
        ({"state_dict": STATE}, "state_dict."),
        ({"state_dict": under("module.", STATE)}, "state_dict.module."),
        ({"state_dict": under("model.", STATE), "hyper_parameters": {"lr": 0.1}}, "state_dict.model."),
        ({"state_dict": under("backbone.", STATE), "meta": {"epoch": 1}}, "state_dict.backbone."),
        (under("encoder.", STATE), "encoder."),
        ({"state_dict": under("module.encoder_q.", STATE)}, "state_dict.module.encoder_q."),
        ({"net": STATE, "acc": 0.9}, "net."),
        ({"teacher": under("module.backbone.", STATE)}, "teacher.module.backbone."),
        ({"whatever": [1, {"it is called": STATE}]}, "whatever.1.it is called."),
        (under("_orig_mod.", STATE), "_orig_mod."),
        (under("module._orig_mod.", STATE), "module._orig_mod."),
        (
            {"state_dict": STATE, "optimizer": {"state": {0: {"m": torch.ones(4)}}}, "args": argparse.Namespace(a=1)},
            "state_dict.",
        ),
        ({**under("model.net.", STATE), "criterion.weight": torch.ones(2)}, "model.net."),
    ],
)
def test_the_prefix_under_which_most_fits(tmp_path: Path, content: Any, prefix: str) -> None:
    module, report = loaded(tmp_path, content)
    for name, value in module.state_dict().items():
        assert torch.equal(value, STATE[name]), name
    assert report.stripped.prefix == prefix and not report.stripped.alternatives
    assert report.summary() == f"11 of 11 tensors matched{f' under {prefix!r}' if prefix else ''}"


def test_what_compiling_parts_leaves_inside_names(tmp_path: Path) -> None:
    inside = {f"model.{name.replace('0.', '0._orig_mod.', 1)}": value for name, value in STATE.items()}
    module, report = loaded(tmp_path, {"state_dict": inside})
    assert torch.equal(module.state_dict()["0.1.running_var"], STATE["0.1.running_var"])
    assert report.summary() == "11 of 11 tensors matched under 'state_dict.model.' without '_orig_mod.'"


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        ({"student": OTHER, "teacher": STATE}, "teacher."),
        ({"model": OTHER, "model_ema": STATE}, "model_ema."),
        ({"state_dict": OTHER, "state_dict_ema": under("module.", STATE)}, "state_dict_ema.module."),
        ({**under("encoder_k.", OTHER), **under("encoder_q.", STATE)}, "encoder_q."),
        ({"online": OTHER, "target": STATE}, "target."),
        ({"state_dict": STATE, "optimizer": {"exp_avg": OTHER}}, "state_dict."),
        ({"b": OTHER, "a": STATE}, "a."),
    ],
)
def test_where_several_fit_the_report_says_which(tmp_path: Path, content: Any, taken: str) -> None:
    module, report = loaded(tmp_path, content)
    assert torch.equal(module.state_dict()["1.weight"], STATE["1.weight"])
    assert report.stripped.prefix == taken and len(report.stripped.alternatives) == 1
    assert (
        report.summary()
        == f"11 of 11 tensors matched under '{taken}', '{report.stripped.alternatives[0]}' would fit as well"
    )


def test_averages_without_statistics_are_not_preferred(tmp_path: Path) -> None:
    """An average of the parameters alone would leave BatchNorm at its initial values."""
    parameters = {name: value for name, value in OTHER.items() if "running" not in name}
    _, report = loaded(tmp_path, {"ema": parameters, "model": STATE})
    assert report.stripped.prefix == "model."


def test_a_part_that_fits_by_chance_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError,
        match=r"none of its 1 tensors fits \(the file has x\.0\.0\.bias ….*no prefix of the names can be removed",
    ):
        loaded(tmp_path, {"x.0.0.bias": torch.ones(4)})
    whole_numbers = {name: value.to(torch.int32) for name, value in STATE.items()}
    with pytest.raises(WeightsError, match="none of its 11 tensors fits"):
        loaded(tmp_path, whole_numbers)


def test_weights_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    broken = {**STATE, "1.bias": torch.full((5,), torch.nan), "2.weight": torch.full((2, 5), 3e38)}
    _, report = loaded(tmp_path, broken)
    assert report.summary() == "11 of 11 tensors matched, 1 with NaN or infinity (1.bias)"


def test_names_of_another_library_under_a_prefix() -> None:
    def convert(state: Any) -> Any:
        return {name.replace("their", "2"): value for name, value in state.items()}

    theirs = under("model.", {name.replace("2.", "their.") if name[0] == "2" else name: v for name, v in STATE.items()})
    choice = choose(theirs, STATE, convert)
    assert choice.fitting == 10 and choice.stripped.prefix == "model." and set(choice.tensors) == set(STATE)
    assert choose(theirs, STATE).fitting == 8


def test_a_table_that_stumbles_is_no_fit() -> None:
    def convert(state: Any) -> Any:
        raise RuntimeError("shape '[4096, -1, 7, 7]' is invalid")

    assert choose(STATE, STATE, convert).fitting == 10


def test_prefixes_before_known_beginnings() -> None:
    names = ("encoder.a", "encoder.encoder.b", "decoder.c", "loss.d")
    state = {f"model.{name}": torch.ones(1) for name in names}
    choice = choose_before(state, ("encoder.", "decoder."))
    assert choice.stripped.prefix == "model." and set(choice.tensors) == set(names)
    assert choose_before({name: torch.ones(1) for name in names}, ("encoder.", "decoder.")).stripped.prefix == ""
    assert set(choose_before(state, ("head.",)).tensors) == set(state)
