"""All of transformers' models that can come in, by the ``model_type`` of their ``config.json``."""

from __future__ import annotations

from vertebra.weights.peers.base import FolderBuilder

BUILDERS: dict[str, FolderBuilder] = {}
