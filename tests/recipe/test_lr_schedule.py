"""Learning-rate schedules by name."""

from __future__ import annotations

from typing import Any

import pytest

from vertebra.config import Config
from vertebra.errors import ConfigError, UnknownName
from vertebra.recipe.lr_schedule import SCHEDULES, lr_factor, make_schedule

RAW = {"data": "somewhere", "model": {"backbone": "test_resnet", "decoder": "linear"}}


def factors(name: str, warmup: float = 0.1, **options: Any) -> list[float]:
    return [lr_factor(step, 100, warmup, make_schedule(name, options)) for step in range(101)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_all_rise_to_the_peak_and_never_after_it(name: str) -> None:
    values = factors(name)
    assert values[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert values[10] == 1 and values[10:] == sorted(values[10:], reverse=True)


def test_their_values() -> None:
    assert factors("cosine")[55] == pytest.approx(0.505) and factors("cosine")[100] == pytest.approx(0.01)
    assert factors("linear", end=0.2)[55] == pytest.approx(0.6) and factors("linear", end=0.2)[100] == pytest.approx(
        0.2
    )
    assert set(factors("constant")[10:]) == {1.0}
    steps = factors("step", warmup=0.0, milestones=[0.5, 0.75], gamma=0.5)
    assert [steps[at] for at in (1, 49, 51, 74, 76, 100)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("cosin", UnknownName, "unknown learning-rate schedule 'cosin'. Did you mean 'cosine'"),
        ({"ends": 0.1}, UnknownName, "'train.lr_schedule.ends'.*Did you mean 'end'"),
        ({"name": "constant", "end": 0.1}, UnknownName, "'train.lr_schedule.end'"),
        ({"end": 2}, ConfigError, "'train.lr_schedule.end' must be from 0 to 1, got 2"),
        ({"name": "step", "milestones": [0.5, 0.4]}, ConfigError, "ascending numbers between 0 and 1, got .0.5, 0.4."),
    ],
)
def test_wrong_values(value: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Config.from_raw({**RAW, "train": {"lr_schedule": value}})


def test_options_alone_are_over_the_default() -> None:
    schedule = Config.from_raw({**RAW, "train": {"lr_schedule": {"end": 0.1}}}).train.lr_schedule
    assert (schedule.name, schedule.options) == ("cosine", {"end": 0.1})
