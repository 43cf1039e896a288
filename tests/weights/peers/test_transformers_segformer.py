"""An imported SegFormer of transformers has equal logits and masks, at an odd size, from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import vertebra
from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.errors import WeightsError
from vertebra.layers.resample import fit_to
from vertebra.weights.peers.transformers_segformer import segformer

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed; it comes with the extra 'peers'"
)


@pytest.fixture
def peer() -> torch.nn.Module:
    config = transformers.SegformerConfig(
        depths=[1, 2, 1, 1], hidden_sizes=[16, 32, 40, 64], decoder_hidden_size=48, num_labels=5
    )
    return randomize(transformers.SegformerForSemanticSegmentation(config))


@torch.no_grad()
def test_equal_masks(peer: torch.nn.Module, tmp_path: Path) -> None:
    peer.save_pretrained(tmp_path)
    model = vertebra.import_model(f"transformers:{tmp_path}")
    assert model.branch("segment").labels.classes == tuple(f"LABEL_{number}" for number in range(5))
    images = torch.randint(0, 256, (2, 3, 97, 161), dtype=torch.uint8)
    theirs = peer((images.float() - model.backbone.mean) / model.backbone.std).logits
    branch = model.branch("segment")
    ours = branch.decoder(branch.prepare(model.features(images))).logits
    assert relative_difference(ours, theirs) < 1e-4
    masks = F.interpolate(theirs, size=(97, 161), mode="bilinear", align_corners=False).argmax(1)
    assert torch.equal(fit_to(ours, (97, 161), 4, "size").argmax(1), masks)
    assert torch.equal(model(images)["segment"].probabilities.argmax(1), masks)


def test_the_names_of_older_files(peer: torch.nn.Module, tmp_path: Path) -> None:
    state = peer.state_dict()
    replaced = {}
    for name, value in state.items():
        steps = name.split(".")
        if steps[0] == "segformer":
            stage, rest = steps[2], steps[3:]
            if rest[0] == "patch_embeddings":
                name = ".".join(["segformer.encoder.patch_embeddings", stage, *rest[1:]])
            elif rest[0] == "layer_norm":
                name = ".".join(["segformer.encoder.layer_norm", stage, *rest[1:]])
            else:
                inner = ".".join(rest[2:])
                for new, old in (
                    ("layernorm_before", "layer_norm_1"),
                    ("layernorm_after", "layer_norm_2"),
                    ("attention.q_proj", "attention.self.query"),
                    ("attention.k_proj", "attention.self.key"),
                    ("attention.v_proj", "attention.self.value"),
                    ("attention.o_proj", "attention.output.dense"),
                    ("attention.sequence_reduction.sequence_reduction", "attention.self.sr"),
                    ("attention.sequence_reduction.layer_norm", "attention.self.layer_norm"),
                    ("mlp.fc", "mlp.dense"),
                ):
                    inner = inner.replace(new, old)
                name = f"segformer.encoder.block.{stage}.{rest[1]}.{inner}"
        replaced[name.replace("linear_projections", "linear_c")] = value
    first = segformer(peer.config.to_dict(), state)
    second = segformer(peer.config.to_dict(), replaced)
    assert set(first.tensors) == set(second.tensors)
    assert all(torch.equal(value, second.tensors[name]) for name, value in first.tensors.items())
    save_file(replaced, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(peer.config.to_dict(), default=str))
    assert vertebra.import_model(f"transformers:{tmp_path}").origin["source"].startswith("transformers:")


def test_a_form_that_was_never_published(peer: torch.nn.Module) -> None:
    with pytest.raises(WeightsError, match=r"a SegFormer with patch_sizes \[5, 3, 3, 3\] is not supported"):
        segformer({**peer.config.to_dict(), "patch_sizes": [5, 3, 3, 3]}, peer.state_dict())
