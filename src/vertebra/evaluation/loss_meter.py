"""The losses of an evaluation, over all of its batches and processes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vertebra.evaluation.process_sums import sum_over_processes
from vertebra.losses.loss_term import LossTerm
from vertebra.model import VisionModel


class LossMeter:
    """Adds up loss terms, so that the mean does not depend on how images are put into batches.

    Each term is divided once, by its count over everything, as training divides it.

    Args:
        model: names the terms.
    """

    def __init__(self, model: VisionModel) -> None:
        self.names = [(name, term) for name in model.branches for term in model.branch(name).decoder.terms]
        self.sums = {name: torch.zeros(2, dtype=torch.float64) for name in self.names}
        self.seen = dict.fromkeys(model.branches, 0.0)

    def add(self, terms: Mapping[str, Mapping[str, LossTerm]]) -> None:
        """The terms of one batch, by branch."""
        for branch, branch_terms in terms.items():
            pairs = torch.stack(
                [torch.stack([term.sum.detach().float(), term.count.float()]) for term in branch_terms.values()]
            )
            for name, pair in zip(branch_terms, pairs.cpu().double(), strict=True):
                self.sums[branch, name] += pair
            self.seen[branch] += 1

    def compute(self, device: torch.device) -> dict[str, float]:
        """The loss of each branch that had a labeled image; every process must call it.

        Args:
            device: on which processes exchange tensors.
        """
        rows = [*self.sums.values(), *(torch.tensor([count, 0.0], dtype=torch.float64) for count in self.seen.values())]
        total = sum_over_processes(torch.stack(rows).to(device)).cpu()
        terms, batches = total[: len(self.sums)], total[len(self.sums) :]
        means = dict(zip(self.names, (terms[:, 0] / terms[:, 1].clamp(min=1)).tolist(), strict=True))
        return {
            branch: sum(value for (owner, _), value in means.items() if owner == branch)
            for branch, count in zip(self.seen, batches[:, 0].tolist(), strict=True)
            if count
        }
