"""Backbones match their specification for all architectures, sizes and weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from vertebra.backbones import TimmBackbone, as_backbone, families, timm_models
from vertebra.errors import ConfigError, UnknownName, WeightsError
from vertebra.features import FeatureSpec, Level
from vertebra.testing import check_backbone
from vertebra.testing.contract import check_gradients
from vertebra.testing.matrix import REPRESENTATIVES

MORE = ("hrnet_w18_small", "davit_tiny", "levit_128s", "coat_tiny", "dla46x_c", "nf_regnet_b0")


@pytest.mark.parametrize("name", [*REPRESENTATIVES, *MORE])
def test_a_backbone_keeps_its_promises(name: str) -> None:
    backbone = TimmBackbone(name, image_size=(128, 64))
    check_backbone(backbone)


@pytest.mark.parametrize("name", REPRESENTATIVES)
@pytest.mark.parametrize("embedding", [False, True])
def test_gradients_reach_all_that_learns(name: str, embedding: bool) -> None:
    backbone = TimmBackbone(name, image_size=(64, 64))
    backbone = backbone.with_required_outputs(embedding=embedding, maps=not embedding)
    features = backbone.train()(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    outputs = [features.embedding] if embedding else features.maps
    check_gradients(backbone, torch.stack([value.square().mean() for value in outputs if value is not None]).sum())


@pytest.mark.parametrize("name", ["mobilenetv2_100", "vgg11", "convnext_atto", "mobilenetv3_small_050"])
def test_the_embedding_is_the_models_own(name: str) -> None:
    """``features_only`` would lose it: MobileNetV2's 1280-wide last convolution, VGG's fully connected layers."""
    backbone = TimmBackbone(name).eval()
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    whole = timm.create_model(name, num_classes=0).eval()
    whole.load_state_dict(backbone.body.state_dict())
    with torch.no_grad():
        normal = (images.float() - backbone.mean) / backbone.std
        expected = whole.forward_head(whole.forward_features(normal), pre_logits=True)
        torch.testing.assert_close(backbone(images).embedding, expected)


def test_names_are_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown backbone 'resnet51'. Did you mean .*'resnet50'"):
        TimmBackbone("resnet51")


def test_every_family_of_timm_is_in_the_table_or_refused_with_a_reason() -> None:
    all_families = families()
    assert sum(family.models for family in all_families) == len(timm_models())
    for family in all_families:
        assert family.kind in ("any", "multiple", "sized", "native", "refused"), f"{family.name}: not measured"
        assert (family.kind == "refused") == bool(family.refusal)


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
def test_any_number_of_channels(channels: int) -> None:
    check_backbone(TimmBackbone("resnet10t", in_channels=channels), channels=channels)


def test_freezing_stops_the_first_stages_and_their_statistics() -> None:
    backbone = TimmBackbone("resnet10t", freeze=2)
    backbone = backbone.with_required_outputs(embedding=False, maps=True)
    backbone.train()
    frozen = {name.split(".")[0] for name, value in backbone.body.named_parameters() if not value.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    before = backbone.body.layer1[0].bn1.running_mean.clone()
    other = backbone.body.layer2[0].bn1.running_mean.clone()
    backbone(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    assert torch.equal(backbone.body.layer1[0].bn1.running_mean, before)
    assert not torch.equal(backbone.body.layer2[0].bn1.running_mean, other)


def test_freezing_all_and_too_much() -> None:
    backbone = TimmBackbone("resnet10t", freeze="all")
    backbone = backbone.with_required_outputs(embedding=True, maps=True)
    backbone.train()
    assert not any(value.requires_grad for value in backbone.parameters())
    assert not any(m.training for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d))
    with pytest.raises(ConfigError, match=r"freeze must be 0 to 5"):
        TimmBackbone("resnet10t", freeze=9).with_required_outputs(embedding=False, maps=True)


def test_output_stride_and_taps() -> None:
    assert TimmBackbone("resnet10t", output_stride=16).out_spec.strides == (2, 4, 8, 16)
    check_backbone(TimmBackbone("resnet10t", output_stride=16))
    with pytest.raises(ConfigError, match="backbone 'vgg11' cannot be built with {'output_stride': 16}"):
        TimmBackbone("vgg11", output_stride=16)
    out_indices = TimmBackbone("test_vit", out_indices=[0, 1, 5])
    assert out_indices.out_spec.strides == (16, 16, 16)
    check_backbone(out_indices)
    with pytest.raises(ConfigError, match="out_indices of backbone 'test_vit' go from 0 to"):
        TimmBackbone("test_vit", out_indices=[40])


def test_a_plain_transformers_taps() -> None:
    joined = TimmBackbone("test_vit", out_indices=[1, 5], class_token=True, final_norm=False)
    assert joined.out_spec.channels == (128, 128)
    check_backbone(joined)
    plain = TimmBackbone("test_vit", out_indices=[1, 5], final_norm=False)
    plain.load_state_dict(joined.state_dict())
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        wide, narrow = joined.eval()(images).maps, plain.eval()(images).maps
    for both, without_token in zip(wide, narrow, strict=True):
        torch.testing.assert_close(both[:, :64], without_token)
        assert torch.equal(both[:, 64:], both[:, 64:, :1, :1].expand_as(without_token))
    with pytest.raises(ConfigError, match="'resnet10t' has no class token"):
        TimmBackbone("resnet10t", class_token=True)


def test_frozen_norms_and_a_normalization_of_ones_own() -> None:
    backbone = TimmBackbone("resnet10t", frozen_norm=True, mean=(0.0,), std=(1.0, 0.5, 0.25))
    backbone = backbone.with_required_outputs(embedding=False, maps=True)
    backbone.train()
    norms = [layer for layer in backbone.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert not any(layer.training or layer.weight.requires_grad for layer in norms)
    assert backbone.body.layer1[0].conv1.weight.requires_grad
    assert backbone.mean.flatten().tolist() == [0, 0, 0] and backbone.std.flatten().tolist() == [255, 127.5, 63.75]
    with pytest.raises(ConfigError, match="'std' must be numbers, for std above 0"):
        TimmBackbone("resnet10t", std=(0.0,))


def test_norm_eps_is_a_field() -> None:
    backbone = TimmBackbone("mobilenetv3_small_050", norm_eps=0.5)
    assert {m.eps for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.5}


def test_a_backbone_built_for_one_size_says_which_would_fit() -> None:
    with pytest.raises(ConfigError, match=r"multiple of 64: got 70x100; set image_size to 128x128"):
        TimmBackbone("levit_128s", image_size=(70, 100))


def test_hub_weights_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        WeightsError, match=r"cannot be downloaded \(OSError: no network\).*pretrained: FILE.*pretrained: false"
    ):
        TimmBackbone("resnet18", pretrained=True)
    with pytest.raises(WeightsError, match="timm has no pretrained weights for 'mobilenetv2_035'"):
        TimmBackbone("mobilenetv2_035", pretrained=True)


TORCHVISION = {
    "resnet18": "resnet18",
    "vgg11_bn": "vgg11_bn",
    "mobilenet_v2": "mobilenetv2_100",
    "densenet121": "densenet121",
}


@pytest.mark.parametrize("peer", TORCHVISION)
def test_torchvision_weights_give_torchvision_outputs(peer: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.get_model(peer, weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    backbone = TimmBackbone(TORCHVISION[peer], pretrained=str(tmp_path / "weights.safetensors")).eval()
    assert not backbone.load_report.missing and not backbone.load_report.mismatched_shapes
    assert all("classifier" in name or "fc" in name for name in backbone.load_report.leftover)
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        embedding = backbone(images).embedding
        classifier = (
            theirs.fc if peer == "resnet18" else theirs.classifier if peer == "densenet121" else theirs.classifier[-1]
        )
        expected = theirs((images.float() - backbone.mean) / backbone.std)
        torch.testing.assert_close(classifier(embedding), expected, rtol=1e-4, atol=1e-4)
    assert "tensors matched" in backbone.origin


def test_weights_that_fit_nothing(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 2)}, tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="none of its 1 tensors fits .*this architecture"):
        TimmBackbone("resnet10t", pretrained=str(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match="no such weight file"):
        TimmBackbone("resnet10t", pretrained=str(tmp_path / "missing.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "none.safetensors").read_bytes()[:20])
    with pytest.raises(WeightsError, match="truncated or not a safetensors file"):
        TimmBackbone("resnet10t", pretrained=str(tmp_path / "cut.safetensors"))


def test_a_pickle_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    torch.save({"state_dict": torch.nn.Linear(1, 1)}, tmp_path / "object.pth")
    with pytest.raises(WeightsError, match="nothing in a file is executed"):
        TimmBackbone("resnet10t", pretrained=str(tmp_path / "object.pth"))


def test_pth_files_are_unwrapped(tmp_path: Path) -> None:
    theirs = timm.create_model("resnet10t", num_classes=3)
    state = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "trained.pth")
    backbone = TimmBackbone("resnet10t", pretrained=str(tmp_path / "trained.pth"))
    assert torch.equal(backbone.body.conv1[0].weight, theirs.conv1[0].weight)
    assert set(backbone.load_report.leftover) == {"fc.weight", "fc.bias"}


def test_real_weights_give_the_same_logits_as_torchvision(assets: Path) -> None:
    from vertebra.checkpoints import read_state_dict

    path = assets / "weights" / "mobilenet_v2_imagenet1k_torchvision_keys.safetensors"
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    theirs.load_state_dict(read_state_dict(path))
    backbone = TimmBackbone("mobilenetv2_100", pretrained=str(path)).eval()
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        logits = theirs.classifier[1](backbone(images).embedding)
        expected = theirs((images.float() - backbone.mean) / backbone.std)
    assert float((logits - expected).abs().max()) < 1e-4


def test_a_module_of_any_origin_may_be_wrapped() -> None:
    body = torch.nn.ModuleList([torch.nn.Conv2d(3, 8, 4, 4), torch.nn.Conv2d(8, 16, 2, 2)])

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = body

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            first = self.stages[0](images)
            return [first, self.stages[1](first)]

    spec = FeatureSpec((Level(8, 4), Level(16, 8)))
    check_backbone(as_backbone(Body(), spec, size_multiple=8))


def test_weights_for_other_channels_are_refused_in_one_line(tmp_path: Path) -> None:
    save_file(timm.create_model("resnet10t", in_chans=4).state_dict(), tmp_path / "four.safetensors")
    with pytest.raises(
        WeightsError, match="only one of 3 channels can be adapted to 2; give weights for 2 or 3 channels"
    ):
        TimmBackbone("resnet10t", in_channels=2, pretrained=str(tmp_path / "four.safetensors"))


def test_a_canvas_beyond_a_fixed_size_is_refused() -> None:
    backbone = TimmBackbone("visformer_tiny", image_size=(224, 224))
    with pytest.raises(ConfigError, match="built for 224x224, got 448x448"):
        backbone(torch.zeros(1, 3, 448, 448, dtype=torch.uint8))


def test_the_native_size_always_fits() -> None:
    assert TimmBackbone("levit_128s", image_size=(224, 224)).fixed_size == (224, 224)
