"""Losses under a label scope: a class of which an image does not have all objects is no negative there.

``exhaustive`` is (N, K) bool, the classes of which all objects in an image are annotated; None for all. The gradient of the logit
of any other class is 0, except where it is the class of an annotated object.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def counted_classes(
    is_class: Bool[Tensor, "n a k"], exhaustive: Bool[Tensor, "n k"] | None
) -> Bool[Tensor, "n a k"] | None:
    """The classes of each candidate that count in a loss of one sigmoid per class; None for all.

    Args:
        is_class: (N, A, K) bool, whether it is the class of the candidate's object.
        exhaustive: see above.
    """
    return None if exhaustive is None else exhaustive[:, None] | is_class


def exclusive_cross_entropy(
    logits: Float[Tensor, "n a k"], labels: Int[Tensor, "n a"], exhaustive: Bool[Tensor, "n c"] | None
) -> Float[Tensor, "n a"]:
    """Softmax cross entropy over the classes and, last, none of them.

    Where the target is none of them, the loss is that of the sum of the probabilities of "none" and of all classes that are not
    exhaustively annotated: the candidate is not one of the annotated classes, and may be one of the others. Their logits are
    constants. The sum is the marginal loss of Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ
    segmentation, Medical Image Analysis 70, 2021, arXiv 2007.03868 (without constants).

    Args:
        logits: (N, A, classes + 1).
        labels: (N, A) int64, ``classes`` for none.
        exhaustive: (N, classes), see above.

    Returns:
        (N, A) float32.
    """
    logits = logits.float()
    if exhaustive is None:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").reshape(labels.shape)
    none = logits.shape[-1] - 1
    known = F.pad(exhaustive, (0, 1), value=True)[:, None]
    is_class = labels[..., None] == torch.arange(none + 1, device=logits.device)
    log_share = torch.where(known | is_class, logits, logits.detach()).log_softmax(dim=-1)
    possible = is_class | ((labels == none)[..., None] & ~known)
    return -torch.where(possible, log_share, -torch.inf).logsumexp(dim=-1)
