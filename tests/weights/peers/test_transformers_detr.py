"""transformers' DETR with random weights: the import gives equal outputs, also for padded images."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.errors import ConfigError, WeightsError
from vertebra.geometry.boxes import clip_boxes, from_center_size
from vertebra.model import VisionModel
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.weights.importing import assemble, import_with_report
from vertebra.weights.peers.transformers_detr import detr

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

CANVAS = (97, 161)
SIZES = torch.tensor([[97, 161], [65, 100]])
CASES = ["timm", "dilated", "own basic", "own bottleneck"]
MEAN, STD = (torch.tensor(values)[:, None, None] for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
IDS = {0: "N/A", 1: "cat", 2: "N/A", 3: "hen"}


def peer_of(case: str) -> Any:
    """A small model of the peer whose weights, statistics and biases are all random."""
    options: dict[str, Any] = {"backbone": "resnet18", "use_timm_backbone": True}
    if case == "dilated":
        options = {"backbone": "resnet26", "use_timm_backbone": True, "dilation": True}
    elif case.startswith("own"):
        kind = case.split()[1]
        theirs = transformers.ResNetConfig(
            layer_type=kind,
            depths=[2, 2, 2, 2] if kind == "basic" else [1, 1, 1, 1],
            hidden_sizes=[64, 128, 256, 512] if kind == "basic" else [256, 512, 1024, 2048],
            out_features=["stage4"],
        )
        options = {"backbone_config": theirs, "use_timm_backbone": False}
    torch.manual_seed(len(case))
    config = transformers.DetrConfig(
        **options,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=96,
        decoder_ffn_dim=96,
        num_queries=25,
        id2label=IDS,
    )
    model = transformers.DetrForObjectDetection(config)
    randomize_all(model)
    return model.eval()


@torch.no_grad()
def randomize_all(model: nn.Module) -> None:
    """Random weights, statistics and biases everywhere, scaled so that cells and queries differ and attention is peaked."""
    randomize(model)
    for name, layer in model.named_modules():
        if type(layer).__name__ == "DetrFrozenBatchNorm2d":
            layer.running_var.uniform_(0.5, 1.5)
            layer.running_mean.normal_(0, 0.1)
            layer.weight.uniform_(0.8, 1.2)
            layer.bias.normal_(0, 0.1)
        elif isinstance(layer, nn.Linear):
            gain = 3.0 if name.endswith((".q_proj", ".k_proj")) else 1.0
            layer.weight.normal_(0, gain / layer.in_features**0.5)
        elif name == "model.input_projection":
            layer.weight.normal_(0, 0.1)
        elif isinstance(layer, nn.Embedding):
            layer.weight.normal_(0, 1)


@lru_cache(maxsize=1)
def both(case: str) -> tuple[Any, VisionModel]:
    theirs = peer_of(case)
    ours, report = assemble(detr(theirs.config.to_dict(), theirs.state_dict()))
    assert report.leftover == ()
    return theirs, ours


def made_images() -> Tensor:
    """(2, 3, 97, 161) uint8, with content on the padding too, which only the masks mark."""
    coarse = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(1))
    return (F.interpolate(coarse, size=CANVAS, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def peer_inputs(images: Tensor) -> dict[str, Tensor]:
    rows, columns = (torch.arange(side) < SIZES[:, axis, None] for axis, side in enumerate(CANVAS))
    mask = (rows[:, :, None] & columns[:, None]).long()
    return {"pixel_values": (images.float() / 255 - MEAN) / STD, "pixel_mask": mask}


def sides(sizes: Tensor) -> Tensor:
    """(N, 1, 4) widths and heights."""
    return sizes.flip(-1).repeat(1, 2)[:, None].float()


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_equal(case: str) -> None:
    """Raw logits and boxes, and the final boxes, of a full and of a padded image in one batch."""
    theirs, ours = both(case)
    images = made_images()
    with torch.no_grad():
        expected = theirs(**peer_inputs(images))
        outputs = ours.branch("detect").decoder(ours.backbone(images, SIZES))
        decoded = ours(images, SIZES)["detect"]
        unmasked = theirs(peer_inputs(images)["pixel_values"])
    assert relative_difference(outputs.class_logits, expected.logits) < 1e-4
    assert relative_difference(outputs.boxes, from_center_size(expected.pred_boxes) * sides(SIZES)) < 1e-4
    # the queries differ, and the mask has an effect
    assert float(expected.logits.std(dim=1).mean()) > 0.05 and float(expected.pred_boxes.std(dim=1).mean()) > 0.005
    assert relative_difference(unmasked.logits[1], expected.logits[1]) > 1e-2
    detections = transformers.DetrImageProcessor().post_process_object_detection(
        expected, threshold=0.0, target_sizes=SIZES
    )
    for number, image_detections in enumerate(detections):
        order = image_detections["scores"].argsort(descending=True)
        assert int(decoded.count[number]) == 25
        boxes = clip_boxes(image_detections["boxes"][None], SIZES[number : number + 1])[0]
        torch.testing.assert_close(decoded.scores[number], image_detections["scores"][order], atol=1e-5, rtol=1e-4)
        assert torch.equal(decoded.labels[number], image_detections["labels"][order])
        torch.testing.assert_close(decoded.boxes[number], boxes[order], atol=161 * 1e-4, rtol=0)


def test_the_loss_is_equal() -> None:
    """With the auxiliary outputs of earlier layers, computed one by one: the peer changes them if auxiliary_loss is on."""
    theirs, ours = both("timm")
    images, inputs = made_images(), peer_inputs(made_images())
    boxes = torch.tensor(
        [[[10.0, 5, 60, 80], [100, 20, 160, 90], [3, 50, 30, 60]], [[20.0, 8, 70, 60]] + [[0.0] * 4] * 2]
    )
    ground_truth = DetectTargets(
        boxes, torch.tensor([[1, 3, 0], [2, -1, -1]]), torch.zeros(2, 3, dtype=torch.bool), torch.tensor([3, 1])
    )
    parts = boxes / sides(SIZES)
    parts = torch.cat([(parts[..., :2] + parts[..., 2:]) / 2, parts[..., 2:] - parts[..., :2]], dim=-1)
    labels = [
        {"class_labels": ground_truth.labels[number, :count], "boxes": parts[number, :count]}
        for number, count in enumerate(ground_truth.count.tolist())
    ]
    decoder = theirs.model.decoder
    layers = list(decoder.layers)
    with torch.no_grad():
        terms, _ = ours.branch("detect").decoder.loss(ours.backbone(images, SIZES), ground_truth)
        last = theirs(**inputs, labels=labels)
        decoder.layers = nn.ModuleList(layers[:1])
        first = theirs(**inputs, labels=labels)
        decoder.layers = nn.ModuleList(layers)
    means = {name: float(term.mean()) for name, term in terms.items()}
    assert means["classification"] == pytest.approx(float(last.loss_dict["loss_ce"]), rel=1e-4)
    assert means["box"] == pytest.approx(5 * float(last.loss_dict["loss_bbox"]), rel=1e-4)
    assert means["giou"] == pytest.approx(2 * float(last.loss_dict["loss_giou"]), rel=1e-4)
    assert means["auxiliary_classification"] == pytest.approx(float(first.loss_dict["loss_ce"]), rel=1e-4)
    assert sum(means.values()) == pytest.approx(float(last.loss + first.loss), rel=1e-4)


def test_the_composition_is_read_off() -> None:
    theirs, ours = both("timm")
    peer = detr(theirs.config.to_dict(), theirs.state_dict())
    assert peer.resize_spec.size == (800, 1333) and peer.resize_spec.mode == "shortest_edge"
    backbone, branch = peer.model["backbone"], peer.model["branches"]["detect"]
    assert (backbone["name"], backbone["out_indices"], backbone["freeze"], backbone["frozen_norm"]) == (
        "resnet18",
        [4],
        2,
        True,
    )
    assert branch["classes"] == ["N/A 0", "cat", "N/A 2", "hen"]
    assert branch["decoder"] == {
        "name": "detr",
        "embed_dim": 64,
        "heads": 4,
        "encoder_layers": 2,
        "layers": 2,
        "queries": 25,
        "hidden": 96,
        "dropout": 0.1,
        "none_weight": 0.1,
        "postprocess": {"score_threshold": 0.0, "max_detections": 25},
    }
    learns = [name for name, value in ours.backbone.named_parameters() if value.requires_grad]
    assert learns and all(".layer" in name and ".layer1" not in name and ".bn" not in name for name in learns)


def test_a_published_folder_comes_in(tmp_path: Path) -> None:
    """Files with the names and the configuration of version 4."""
    theirs, ours = both("timm")
    theirs.save_pretrained(tmp_path / "new")
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    del config["backbone_config"]
    config.update(backbone="resnet18", use_timm_backbone=True, dilation=False, scale_embedding=False)
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_text(json.dumps(config))
    save_file(
        {
            name.replace("model.backbone.", "model.backbone.conv_encoder.")
            .replace("o_proj", "out_proj")
            .replace(".mlp.fc", ".fc"): value.contiguous()
            for name, value in theirs.state_dict().items()
        },
        old / "model.safetensors",
    )
    images = made_images()
    for folder in (tmp_path / "new", old):
        decoded, report = import_with_report(f"transformers:{folder}")
        assert report.leftover == ()
        with torch.no_grad():
            left, right = (model(images, SIZES)["detect"] for model in (decoded, ours))
        torch.testing.assert_close(left.boxes, right.boxes)
        torch.testing.assert_close(left.scores, right.scores)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "gelu"}, "with activation_function=gelu is not supported, only relu"),
        ({"auxiliary_loss": True}, "with auxiliary_loss=True is not supported"),
        ({"position_embedding_type": "learned"}, "with position_embedding_type=learned is not supported"),
        ({"encoder_attention_heads": 8}, "encoder_attention_heads=8 and decoder_attention_heads=4: give one"),
        ({"backbone_config": {"model_type": "swin"}}, "on a backbone 'swin' is not supported, only on a ResNet"),
        (
            {"backbone_config": {"model_type": "resnet", "embedding_size": 32}},
            "embedding_size are not those of a ResNet",
        ),
        (
            {"backbone_config": {"model_type": "timm_backbone", "out_indices": [1, 2, 3]}},
            "on its backbone's last map only",
        ),
    ],
)
def test_forms_that_are_not_known_are_refused(changes: dict[str, Any], message: str) -> None:
    theirs, _ = both("timm")
    with pytest.raises(ConfigError, match=message):
        detr({**theirs.config.to_dict(), **changes}, theirs.state_dict())


def test_masks_and_other_weights_are_refused() -> None:
    theirs, _ = both("timm")
    config, state = theirs.config.to_dict(), theirs.state_dict()
    with pytest.raises(ConfigError, match="for object detection only"):
        detr(config, {f"detr.{name}": value for name, value in state.items()})
    with pytest.raises(WeightsError, match="its weights are not those of this model"):
        assemble(detr(config, {name: value for name, value in state.items() if "input_projection" not in name}))
