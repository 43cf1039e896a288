from dataclasses import dataclass
from typing import Literal

import pytest

from vertebra.errors import ConfigError, UnknownName
from vertebra.parts import check_options, describe, find, names, options
from vertebra.tasks import TASKS


@dataclass(frozen=True)
class Postprocess:
    """How to decode."""

    keep: int = 100
    iou: float = 0.5


class Sample:
    """A part for tests."""

    def __init__(
        self,
        in_spec: object,
        *,
        depth: int = 2,
        width: int | None = None,
        mode: Literal["a", "b"] = "a",
        rates: list[int] | None = None,
        scale: float = 1.0,
        postprocess: Postprocess = Postprocess(),
    ) -> None: ...


def test_options_are_the_keyword_only_arguments() -> None:
    assert [option.name for option in options(Sample)] == ["depth", "width", "mode", "rates", "scale", "postprocess"]
    assert options(Sample)[1].type == "int | None"


def test_good_options_are_converted() -> None:
    assert check_options(Sample, {"rates": [1, 2], "scale": 2, "postprocess": {"keep": 5}}, "p") == {
        "rates": [1, 2],
        "scale": 2.0,
        "postprocess": Postprocess(keep=5),
    }
    assert check_options(Sample, {"postprocess": Postprocess(iou=0.6)}, "p") == {"postprocess": Postprocess(iou=0.6)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": True}, r"'p.depth' must be a whole number, got true"),
        ({"depth": 1.5}, r"'p.depth' must be a whole number"),
        ({"scale": True}, r"'p.scale' must be a number"),
        ({"mode": "c"}, r"'p.mode' must be 'a' or 'b'"),
        ({"postprocess": {"keep": "many"}}, r"'p.postprocess.keep' must be a whole number"),
        ({"postprocess": 3}, r"'p.postprocess' must be a mapping"),
    ],
)
def test_wrong_values_have_their_path(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_options(Sample, given, "p")


def test_unknown_options_get_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"'p.dept': 'dept'. Did you mean 'depth'"):
        check_options(Sample, {"dept": 1}, "p")
    with pytest.raises(UnknownName, match=r"'p.postprocess.kep'.*Did you mean 'keep'"):
        check_options(Sample, {"postprocess": {"kep": 1}}, "p")


@pytest.mark.parametrize("kind", ["neck", "encoder", "decoder"])
def test_every_part_is_described_and_its_options_are_plain(kind: str) -> None:
    assert names(kind)
    for name in names(kind):
        part = describe(kind, name)
        assert part.summary.endswith("."), f"{name}: a summary is a sentence"
        assert kind != "decoder" or part.task in TASKS
        defaults = {option.name: option.default for option in part.options}
        assert check_options(find(kind, name), defaults, name).keys() == defaults.keys()
        assert not [option.name for option in part.options if not option.meaning], f"{name}: tell what each option does"


def test_unknown_parts_get_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="unknown neck 'fpm'. Did you mean 'fpn'"):
        find("neck", "fpm")
