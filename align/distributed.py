"""One batch out of the parts that several processes hold, with gradient.

An objective that compares recordings with one another (`align.objectives`) needs the whole batch, not one process's
part of it. This module brings it together; it starts no processes and averages no gradients, which is the work of
DistributedDataParallel.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def gather(features: Tensor) -> Tensor:
    """Concatenate the parts of all processes in order of rank; the identity where there is but one process.

    Loss and gradient are those of one process that has the whole batch, with no factor to add. Say W processes each
    compute the same loss L of the gathered rows, and those of process r depend on the weights w through x_r. The
    backward pass of the gathering sums over the processes, so that process r sees W dL/dx_r and adds W dL/dx_r dx_r/dw
    to its gradient; DistributedDataParallel divides the sum over r by W, which leaves dL/dw. A weight of the objective
    itself, such as a temperature, has dL/dw in every process, and so in their mean.

    Parts may differ in length, down to none at all: the shorter ones are padded on their way. Every process has to
    call it the same number of times, else all wait for ever.

    Args:
        features: (batch, ...) of any type; shape after the first dimension and type are the same in every process.

    Returns:
        (sum of the batches, ...)
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return features
    lengths = _lengths(features)
    missing = max(lengths) - len(features)
    padded = torch.cat([features, features.new_zeros((missing, *features.shape[1:]))])
    parts = all_gather(padded)  # type: ignore[no-untyped-call]
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])


def _lengths(features: Tensor) -> list[int]:
    """Rows that each process holds, by rank."""
    own = torch.tensor([len(features)], device=features.device)
    everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, own)
    return [int(length) for length in torch.cat(everyone).tolist()]
