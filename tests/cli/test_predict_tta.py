"""``vertebra predict`` with mirrored and scaled looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vertebra
from vertebra.cli.main import main


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    branches = {
        "kind": {"decoder": "linear", "classes": ["dog", "cat"]},
        "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["dog", "cat"]},
    }
    vertebra.save(vertebra.create_model("test_resnet", branches=branches, image_size=(64, 64)).eval(), path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def called(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> int:
    monkeypatch.setattr("sys.argv", ["vertebra", "predict", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (["--flip"], {"flip": True}),
        (["--scales", "0.75,1,1.25"], {"scales": (0.75, 1, 1.25)}),
        (["--flip", "--scales", "1.5", "--tile", "48"], {"flip": True, "scales": (1.5,), "tile": 48}),
    ],
)
def test_the_command_says_what_the_model_says(
    file: Path,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    options: dict[str, Any],
) -> None:
    assert called(monkeypatch, file, image, "--json", "--threshold", 0, "--device", "cpu", *given) == 0
    (told,) = json.loads(capsys.readouterr().out)
    model = vertebra.load(file)
    (expected,) = model.predict(image, threshold=0.0, device="cpu", **options)
    (plain,) = model.predict(image, threshold=0.0, device="cpu")
    assert told["kind"] == expected["kind"].to_dict() != plain["kind"].to_dict()
    assert told["boxes"] == expected["boxes"].to_dict() and told["boxes"]["objects"]


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ("0", "'scales' must be numbers above 0 and at most 4, such as 0.8, 1 and 1.25, got 0.0"),
        ("a,b", "'scales' must be numbers separated by commas, such as 0.8,1,1.25, got 'a,b'"),
        ("1,1", "'scales' has one twice: 1, 1"),
        ("80,100", "got 80.0"),
    ],
)
def test_scales_that_are_none_end_with_a_message(
    file: Path,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scales: str,
    message: str,
) -> None:
    assert called(monkeypatch, file, image, "--json", "--scales", scales) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert message in told and "Traceback" not in told
