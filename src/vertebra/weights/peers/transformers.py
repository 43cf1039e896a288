"""All supported models of transformers, by the ``model_type`` of their ``config.json``."""

from __future__ import annotations

from vertebra.weights.peers.base import FolderBuilder
from vertebra.weights.peers.transformers_detr import detr
from vertebra.weights.peers.transformers_mask2former import mask2former
from vertebra.weights.peers.transformers_maskformer import maskformer
from vertebra.weights.peers.transformers_rt_detr import rt_detr
from vertebra.weights.peers.transformers_segformer import segformer

BUILDERS: dict[str, FolderBuilder] = {
    "detr": detr,
    "mask2former": mask2former,
    "maskformer": maskformer,
    "rt_detr": rt_detr,
    "rt_detr_v2": rt_detr,
    "segformer": segformer,
}

BEGINNINGS: tuple[str, ...] = (
    "model.backbone.",
    "model.encoder.",
    "model.decoder.",
    "model.enc_",
    "model.encoder_input_proj.",
    "model.decoder_input_proj.",
    "model.input_projection.",
    "model.query_position_embeddings.",
    "model.pixel_level_module.",
    "model.transformer_module.",
    "class_predictor.",
    "criterion.",
    "mask_embedder.",
    "model.denoising_class_embed.",
    "class_labels_classifier.",
    "bbox_predictor.",
    "class_embed.",
    "bbox_embed.",
    "segformer.",
    "decode_head.",
)
"""Beginnings of their tensor names; anything before them is a trainer's prefix."""
