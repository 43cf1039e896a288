"""Every kind of change of a model is noticed before the next prediction, and nothing else is."""

from __future__ import annotations

import copy
import dataclasses
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vertebra
from vertebra.model import VisionModel
from vertebra.optimize import model_state
from vertebra.optimize.model_state import ModelState, current_state


@dataclasses.dataclass
class Priors:
    scales: Tensor


def made() -> VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model("test_resnet", neck="fpn", decoder="retinanet", classes=["a", "b"], image_size=64)


def norm_of(model: VisionModel) -> Any:
    return next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def conv_of(model: VisionModel) -> Any:
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


def first(model: VisionModel) -> Any:
    return next(model.parameters())


def edit_in_place(model: VisionModel) -> None:
    with torch.no_grad():
        first(model).view(-1)[3] += 0.5


def edit_a_view(model: VisionModel) -> None:
    first(model).detach()[0].mul_(2)


def load_a_state(model: VisionModel) -> None:
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})


def replace_a_module(model: VisionModel) -> None:
    model.branch("detect").neck = copy.deepcopy(model.branch("detect").neck)


def replace_a_layer(model: VisionModel) -> None:
    layers: Any = model.backbone.body.conv1  # type: ignore[union-attr]
    layers[0] = copy.deepcopy(layers[0])


def replace_a_parameter(model: VisionModel) -> None:
    conv = conv_of(model)
    conv.weight = nn.Parameter(conv.weight.detach().clone())


def replace_data(model: VisionModel) -> None:
    first(model).data = first(model).data.clone()


def edit_through_data(model: VisionModel) -> None:
    first(model).data.mul_(0.5)


def replace_a_counter(model: VisionModel) -> None:
    norm = norm_of(model)
    norm.num_batches_tracked = norm.num_batches_tracked.clone()


def step_of_training(model: VisionModel) -> None:
    value = conv_of(model).weight
    torch.optim.SGD([value], lr=0.1).zero_grad()
    value.sum().backward()
    torch.optim.SGD([value], lr=0.1).step()


def statistics(model: VisionModel) -> None:
    norm = norm_of(model).train()
    norm(torch.rand(2, norm.num_features, 3, 3))
    norm.eval()


def postprocess_option(model: VisionModel) -> None:
    decoder: Any = model.branch("detect").decoder
    decoder.postprocess = dataclasses.replace(decoder.postprocess, max_detections=2)


def attribute(model: VisionModel) -> None:
    norm_of(model).eps = 0.1


def attribute_of_the_model(model: VisionModel) -> None:
    model.resize_spec = dataclasses.replace(model.resize_spec, size=(96, 96))


def list_in_place(model: VisionModel) -> None:
    model.branch("detect").decoder.widths[0] = 7  # type: ignore[index, union-attr]


def loose_tensor(model: VisionModel) -> None:
    model.branch("detect").decoder.loose.mul_(2)  # type: ignore[operator, union-attr]


def replaced_loose_tensor(model: VisionModel) -> None:
    model.branch("detect").decoder.loose = torch.ones(3)


def new_module(model: VisionModel) -> None:
    model.branch("detect").added = nn.Identity()


def new_buffer(model: VisionModel) -> None:
    norm_of(model).register_buffer("added", torch.zeros(1))


def forward_of_an_instance(model: VisionModel) -> None:
    norm_of(model).forward = lambda maps: maps


def hook(model: VisionModel) -> None:
    norm_of(model).register_forward_hook(lambda module, given, found: found * 2)


def hook_before(model: VisionModel) -> None:
    norm_of(model).register_forward_pre_hook(lambda module, given: None)


def weight_norm(model: VisionModel) -> None:
    nn.utils.parametrizations.weight_norm(conv_of(model))


def moved_type(model: VisionModel) -> None:
    model.double()


def forward_of_the_model(model: VisionModel) -> None:
    model.forward = lambda images, sizes=None: {}  # type: ignore[method-assign]


def tensor_in_a_list(model: VisionModel) -> None:
    model.branch("detect").decoder.anchors[0].add_(1)  # type: ignore[index, union-attr]


def tensor_in_a_tuple_in_a_dict(model: VisionModel) -> None:
    model.branch("detect").decoder.tables["a"][0].add_(1)  # type: ignore[index, union-attr]


def tensor_in_a_dataclass(model: VisionModel) -> None:
    model.branch("detect").decoder.priors.scales.add_(1)  # type: ignore[union-attr]


def field_of_a_dataclass(model: VisionModel) -> None:
    model.branch("detect").decoder.priors.scales = torch.ones(2)  # type: ignore[union-attr]


def array_in_place(model: VisionModel) -> None:
    model.branch("detect").decoder.array[1] = 5.0  # type: ignore[index, union-attr]


CHANGES: list[Callable[[VisionModel], None]] = [
    edit_in_place, edit_a_view, load_a_state, replace_a_module, replace_a_layer, replace_a_parameter, replace_data,
    edit_through_data, replace_a_counter, step_of_training, statistics, postprocess_option, attribute,
    attribute_of_the_model, list_in_place, loose_tensor,
    replaced_loose_tensor, new_module, new_buffer, forward_of_an_instance, hook, hook_before, weight_norm, moved_type,
    forward_of_the_model, tensor_in_a_list, tensor_in_a_tuple_in_a_dict, tensor_in_a_dataclass, field_of_a_dataclass,
    array_in_place,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_noticed(change: Callable[[VisionModel], None]) -> None:
    model = made()
    decoder: Any = model.branch("detect").decoder
    decoder.widths, decoder.loose = [3, 4], torch.zeros(3)
    decoder.anchors, decoder.tables = [torch.zeros(2)], {"a": (torch.zeros(2),)}
    decoder.priors, decoder.array = Priors(torch.zeros(2)), np.array([1.0, np.nan])
    state = ModelState(model)
    assert state.holds(model)
    change(model)
    assert not state.holds(model)
    assert ModelState(model).holds(model)


def test_a_removed_or_exchanged_hook_is_noticed() -> None:
    model = made()
    handle = norm_of(model).register_forward_hook(lambda module, given, found: None)
    state = ModelState(model)
    handle.remove()
    assert not state.holds(model)
    norm_of(model).register_forward_hook(lambda module, given, found: found * 2)
    assert not state.holds(model)


def test_what_changes_no_output_is_no_change() -> None:
    model = made()
    state = ModelState(model)
    model.train()
    assert state.holds(model)
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    for value in model.parameters():
        value.requires_grad_(False)
    copy.deepcopy(model)
    model.state_dict()
    assert state.holds(model) and current_state(model, state) is state


def test_a_model_made_in_inference_mode_has_no_state() -> None:
    with torch.inference_mode():
        model = made()
    assert current_state(model, None) is None


def test_a_step_of_a_fused_optimizer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_state, "_samples", lambda value: [])  # as on a GPU
    model = made()
    state = ModelState(model)
    value = conv_of(model).weight
    value.sum().backward()
    assert state.holds(model)
    torch.optim.AdamW([value], fused=True).step()
    assert not state.holds(model)


def scripted(model: VisionModel) -> None:
    model.branch("detect").added = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))


def tensor_of_inference_mode(model: VisionModel) -> None:
    with torch.inference_mode():
        model.branch("detect").grid = torch.zeros(3)


def complex_buffer(model: VisionModel) -> None:
    norm_of(model).register_buffer("added", torch.zeros(2, dtype=torch.complex128))


def sparse_attribute(model: VisionModel) -> None:
    model.branch("detect").mask = torch.eye(3).to_sparse()


def sparse_buffer(model: VisionModel) -> None:
    norm_of(model).register_buffer("added", torch.eye(3).to_sparse())


def dict_with_itself(model: VisionModel) -> None:
    table: dict[str, Any] = {}
    model.branch("detect").table = table
    table["table"] = table


UNUSUAL: list[Callable[[VisionModel], None]] = [
    scripted, tensor_of_inference_mode, complex_buffer, sparse_attribute, sparse_buffer, dict_with_itself,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("add", UNUSUAL, ids=lambda add: add.__name__)
def test_unusual_attributes_of_modules(add: Callable[[VisionModel], None]) -> None:
    model = made()
    add(model)
    state = current_state(model, None)
    assert state is not None and current_state(model, state) is state
    edit_in_place(model)
    assert not state.holds(model)


def test_a_tensor_of_inference_mode_that_changes() -> None:
    model = made()
    tensor_of_inference_mode(model)
    state = ModelState(model)
    with torch.inference_mode():
        model.branch("detect").grid.add_(1)  # type: ignore[operator]
    assert not state.holds(model)


def test_a_model_that_cannot_be_observed_has_no_state() -> None:
    model = made()
    with torch.inference_mode():
        model.branch("detect").grid = torch.zeros(3, dtype=torch.bfloat16)
    assert current_state(model, None) is None
    model.branch("detect").grid = np.zeros(1 << 20)
    assert current_state(model, None) is None
    model.predict(np.zeros((64, 64, 3), dtype=np.uint8))


def test_predictions_keep_no_model_alive() -> None:
    model = made()
    model.predict(np.zeros((64, 64, 3), dtype=np.uint8))
    gone = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()
