"""What all tests share: real data where it is there, one thread, and quiet libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests import shape_checks
from tests.daily_sample import pytest_configure, pytest_runtest_makereport  # noqa: F401  # hooks

shape_checks.install()

os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start
if not os.environ.get("VERTEBRA_TEST_GPU"):  # `make gpu` sets it: other tests compare digits, and are about the CPU
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
torch.set_num_threads(1)  # tests run side by side, each on a core of its own
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def assets() -> Path:
    """A folder with real data sets and weights; tests that need it are skipped without it."""
    folder = Path(os.environ.get("VERTEBRA_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))
    if not folder.is_dir():
        pytest.skip("no real data here; set VERTEBRA_ASSETS to the folder that has it")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random draws."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests read and write no cache of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERTEBRA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tiny data sets of drawn scenes: ``animals`` (image folder), ``boxes`` (VOC), ``regions`` (masks)."""
    from vertebra.demo.files import SceneCounts, write_scenes
    from vertebra.demo.scenes import SceneStyle

    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, SceneCounts(classes=12, boxes=12, masks=12, val=4, test=5), style=SceneStyle(size=(48, 64)))
    return root


@pytest.fixture(scope="session")
def three_branches(scenes: Path) -> dict:
    """A config that trains one tiny backbone with three branches on the three data sets."""
    from vertebra.demo.animals import ANIMALS

    sources = {"animal": "animals", "boxes": "boxes", "regions": "regions"}
    return {
        "data": {"train": [{"path": str(scenes / folder), "branches": [name]} for name, folder in sources.items()]},
        "model": {
            "backbone": "mobilenetv2_035",
            "branches": {
                "animal": {"decoder": {"name": "linear", "dropout": 0.3}, "classes": list(ANIMALS)},
                "boxes": {"neck": "fpn", "decoder": "fcos", "classes": list(ANIMALS)},
                "regions": {"decoder": "upsample"},
            },
        },
        "train": {"epochs": 2, "batch_size": 6, "image_size": [48, 64], "workers": 0, "precision": "32", "ema": 0.9},
    }


@pytest.fixture(scope="session")
def finished(three_branches: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of that config; tests must not change it."""
    import vertebra

    return vertebra.train(three_branches, out=tmp_path_factory.mktemp("runs") / "whole").folder
