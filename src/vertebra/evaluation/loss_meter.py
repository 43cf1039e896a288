"""The losses of an evaluation, over all of its batches and processes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vertebra.evaluation.process_sums import sum_over_processes
from vertebra.losses.loss_term import LossTerm
from vertebra.model import VisionModel


class LossMeter:
    """Sums loss terms, so that the mean does not depend on the batch size.

    Each term is divided once, by its total count, as in training.

    Args:
        model: has the names of the terms.
    """

    def __init__(self, model: VisionModel) -> None:
        self.names = [(name, term) for name in model.branches for term in model.branch(name).decoder.terms]
        self.sums = {name: torch.zeros(2, dtype=torch.float64) for name in self.names}
        self.batches = dict.fromkeys(model.branches, 0.0)

    def add(self, terms: Mapping[str, Mapping[str, LossTerm]]) -> None:
        """Adds the terms of one batch, by branch."""
        for branch, branch_terms in terms.items():
            pairs = torch.stack(
                [torch.stack([term.sum.detach().float(), term.count.float()]) for term in branch_terms.values()]
            )
            for name, pair in zip(branch_terms, pairs.cpu().double(), strict=True):
                self.sums[branch, name] += pair
            self.batches[branch] += 1

    def compute(self, device: torch.device) -> dict[str, float]:
        """The loss of each branch with a labeled image; every process must call it.

        Args:
            device: for the exchange of tensors between processes.
        """
        rows = [
            *self.sums.values(),
            *(torch.tensor([count, 0.0], dtype=torch.float64) for count in self.batches.values()),
        ]
        total = sum_over_processes(torch.stack(rows).to(device)).cpu()
        terms, batch_counts = total[: len(self.sums)], total[len(self.sums) :]
        means = dict(zip(self.names, (terms[:, 0] / terms[:, 1].clamp(min=1)).tolist(), strict=True))
        return {
            branch: sum(value for (owner, _), value in means.items() if owner == branch)
            for branch, count in zip(self.batches, batch_counts[:, 0].tolist(), strict=True)
            if count
        }
