"""The attention-pooling classifier."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.classify.linear import LinearOutputs
from vertebra.decoders.teacher_outputs import teacher_outputs
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells
from vertebra.layers.position_encoding import sine_position
from vertebra.losses.classification import binary_cross_entropy, cross_entropy
from vertebra.losses.distillation import soft_class_term
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.targets import ClassifyDecoded, ClassifyTargets

HIDDEN = -1e4


class AttentionPool(Decoder[LinearOutputs, ClassifyTargets, ClassifyDecoded]):
    """Attention-pooling classifier: a learned query attends to the cells of the deepest level, instead of averaging them; then
    one logit per class, with softmax or sigmoid.

    Differences from the papers: cells on the padding of the canvas are masked out, and a sine encoding gives the position of
    each cell.

    Args:
        embed_dim: channels of a token; None: derived from the backbone, at least 128.
        heads: attention heads; must divide ``embed_dim``.
        mlp_ratio: hidden channels of the MLP after the attention, as a multiple of ``embed_dim``.
        dropout: before the logits.
        label_smoothing: fraction of the target probability that is spread over all classes.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "classify"
    scope_use: ClassVar[ScopeUse] = "full"
    terms: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    paper: ClassVar[str] = (
        "Lee et al., Set Transformer, ICML 2019, arXiv 1810.00825 (pooling by attention); over an image's patches as in "
        "Zhai et al., Scaling Vision Transformers, CVPR 2022, arXiv 2106.04560"
    )
    labels: ClassifyLabels

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: ClassifyLabels,
        *,
        embed_dim: int | None = None,
        heads: int = 8,
        mlp_ratio: float = 2.0,
        dropout: float = 0.2,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__(in_spec, labels)
        in_spec.require_levels()
        check_range("decoder 'attention_pool'", minimum=0, maximum=1, dropout=dropout, label_smoothing=label_smoothing)
        check_range("decoder 'attention_pool'", minimum=1, embed_dim=embed_dim, heads=heads)
        check_range("decoder 'attention_pool'", minimum=0, mlp_ratio=mlp_ratio)
        if not labels.multilabel and labels.class_count < 2:
            raise ConfigError("one exclusive class leaves nothing to decide; name two classes, or set multilabel: true")
        self.in_levels = (len(in_spec.levels) - 1,)
        self.embed_dim = embed_dim or default_channels(in_spec, minimum=128)
        if self.embed_dim % heads or self.embed_dim % 4:
            raise ConfigError(
                f"decoder 'attention_pool': embed_dim {self.embed_dim} must be a multiple of 4 and of heads {heads}"
            )
        self.heads = heads
        self.label_smoothing = label_smoothing
        hidden = max(1, int(self.embed_dim * mlp_ratio))
        self.project = nn.Conv2d(in_spec.levels[-1].channels, self.embed_dim, 1)
        self.norm = nn.LayerNorm(self.embed_dim)
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, self.embed_dim))
        self.keys = nn.Linear(self.embed_dim, self.embed_dim)
        self.values = nn.Linear(self.embed_dim, self.embed_dim)
        self.out = nn.Linear(self.embed_dim, self.embed_dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(self.embed_dim),
            nn.Linear(self.embed_dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, self.embed_dim),
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.embed_dim, labels.class_count)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Features, proposals: Proposals | None = None) -> LinearOutputs:
        """One logit for each class and image."""
        pooled = self._attend(features)
        return LinearOutputs(self.classifier(self.dropout(pooled + self.mlp(pooled))))

    def _attend(self, features: Features) -> Tensor:
        """(N, embed_dim): the attention-weighted values of the cells that cover the image."""
        maps = self.project(features.maps[-1])
        batch, _, height, width = maps.shape
        tokens = self.norm(maps.flatten(2).transpose(1, 2))
        keys = self.keys(tokens + sine_position(height, width, self.embed_dim, tokens))
        valid = valid_cells(features.frame, maps, self.in_spec.levels[-1].stride).flatten(1)
        bias = torch.where(valid, 0.0, HIDDEN).to(tokens.dtype)[:, None, None]
        query = self.query.to(tokens.dtype).expand(batch, 1, self.embed_dim)
        query, keys, values = map(self._split, (query, keys, self.values(tokens)))
        pooled = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)
        out: Tensor = self.out(pooled.transpose(1, 2).reshape(batch, self.embed_dim))
        return out

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, L, embed_dim) to (N, heads, L, embed_dim / heads)."""
        batch, length, embed_dim = tokens.shape
        return tokens.reshape(batch, length, self.heads, embed_dim // self.heads).transpose(1, 2)

    def loss(self, features: Features, targets: ClassifyTargets) -> tuple[dict[str, LossTerm], LinearOutputs]:
        """Cross entropy: softmax for exclusive classes, sigmoid otherwise."""
        outputs = self(features)
        smoothing = self.label_smoothing if self.training else 0.0
        if self.labels.multilabel:
            term = binary_cross_entropy(outputs.logits, targets.labels, smoothing, targets.known)
        else:
            term = cross_entropy(outputs.logits, targets.labels, smoothing)
        return {"cross_entropy": term}, outputs

    def distillation(self, outputs: LinearOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the softened probabilities, from a teacher with any classifier."""
        taught = teacher_outputs(teacher, features, outputs)
        return soft_class_term(outputs.logits, taught.logits, self.labels.multilabel)

    def decode(self, outputs: LinearOutputs, frame: Frame) -> ClassifyDecoded:
        """Softmax or sigmoid."""
        logits = outputs.logits
        return ClassifyDecoded(logits.softmax(dim=1) if not self.labels.multilabel else logits.sigmoid())
