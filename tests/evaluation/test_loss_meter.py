"""The losses of an evaluation do not depend on how its images are put into batches and processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vertebra.backbones import TimmBackbone
from vertebra.evaluation.loss_meter import LossMeter
from vertebra.losses.loss_term import LossTerm
from vertebra.parts import find, names
from vertebra.tasks import get_task
from vertebra.testing.matrix import Combination, assemble

NEEDS = {"retinanet": "fpn", "fcos": "fpn", "faster_rcnn": "fpn", "tood": "fpn", "yolox": "fpn", "ssd": "ssd_extra",
         "ssdlite": "ssd_extra", "upernet": "fpn", "fpn": "fpn"}  # fmt: skip


def part_of(targets: Any, rows: slice) -> Any:
    """The targets of some images."""
    return type(targets)(*(None if value is None else value[rows] for value in vars_of(targets)))


def vars_of(targets: Any) -> list[Any]:
    return (
        [getattr(targets, name) for name in targets.__dataclass_fields__]
        if hasattr(targets, "__dataclass_fields__")
        else list(targets)
    )


@pytest.fixture(scope="module")
def backbone() -> TimmBackbone:
    return TimmBackbone("resnet10t", image_size=(64, 64))


@pytest.mark.parametrize("decoder", names("decoder"))
def test_batches_of_any_size_give_the_same(decoder: str, backbone: TimmBackbone) -> None:
    if getattr(find("decoder", decoder), "needs", None):
        pytest.skip("it reads another branch's boxes")
    encoder = "hybrid" if decoder == "rt_detr" else None
    model = assemble(Combination("resnet10t", NEEDS.get(decoder), encoder, decoder), backbone).eval()
    (name,) = model.branches
    branch = model.branch(name)
    targets = get_task(branch.task).data.fake_targets(branch.labels, (64, 64), 3)
    images, sizes = torch.randint(0, 255, (3, 3, 64, 64), dtype=torch.uint8), torch.full((3, 2), 64)

    def loss(*batches: slice) -> float:
        meter = LossMeter(model)
        for rows in batches:
            count = len(images[rows])
            own = {name: (torch.arange(count), part_of(targets, rows))}
            meter.add(model.loss(images[rows], sizes[rows], own)[0])
        return meter.compute(torch.device("cpu"))[name]

    with torch.no_grad():
        whole = loss(slice(0, 3))
        assert loss(slice(0, 2), slice(2, 3)) == pytest.approx(whole, rel=1e-3)


MODEL = SimpleNamespace(
    branches=("a", "b", "c"), branch=lambda name: SimpleNamespace(decoder=SimpleNamespace(terms=("x", "y")))
)


def term(total: float, count: float) -> LossTerm:
    return LossTerm(torch.tensor(total), torch.tensor(count))


def test_terms_are_divided_once() -> None:
    meter = LossMeter(MODEL)  # type: ignore[arg-type]
    meter.add({"a": {"x": term(6, 3), "y": term(1, 0)}})
    meter.add({"a": {"x": term(2, 1), "y": term(1, 0)}, "b": {"x": term(5, 10)}})
    assert meter.compute(torch.device("cpu")) == {"a": 8 / 4 + 2, "b": 0.5}


_WORKER = """
import json, sys
import torch, torch.distributed as dist
from vertebra.losses.loss_term import LossTerm
from vertebra.evaluation.loss_meter import LossMeter
from types import SimpleNamespace
rank, port = map(int, sys.argv[1:])
model = SimpleNamespace(
    branches=("a", "b", "c"), branch=lambda name: SimpleNamespace(decoder=SimpleNamespace(terms=("x",)))
)
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
meter = LossMeter(model)
for total, count in ([(6.0, 3.0), (1.0, 1.0)], [(9.0, 12.0)])[rank]:
    meter.add({"a": {"x": LossTerm(torch.tensor(total), torch.tensor(count))}})
if rank:
    meter.add({"b": {"x": LossTerm(torch.tensor(4.0), torch.tensor(2.0))}})
print(json.dumps(meter.compute(torch.device("cpu"))))
dist.destroy_process_group()
"""


def test_processes_give_what_one_would() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen([sys.executable, "-c", _WORKER, str(rank), str(port)], stdout=subprocess.PIPE)
        for rank in range(2)
    ]
    found = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert found == [{"a": 16 / 16, "b": 2.0}] * 2
