"""How much of a GPU a training uses: floating-point operations of a step, and what the card could do in the same time.

Counted are products of matrices, convolutions and attention, forward and backward, as torch counts them; not the FFT,
nor anything by element. What a card can do is its maker's figure for bfloat16 without sparsity.
"""

from __future__ import annotations

import copy
import re
import warnings

import torch
from torch.utils.flop_counter import FlopCounterMode

from align.batches import Batch
from align.module import AlignmentTask

PEAK_TFLOPS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10": 125,
}
"""By a word of the card's name; the first that fits counts."""


def peak_flops(card: str) -> float | None:
    """Operations a second in bfloat16, None for a card that is not in the table."""
    known = [peak for name, peak in PEAK_TFLOPS.items() if re.search(rf"\b{name}\b", card)]
    return known[0] * 1e12 if known else None


def flops_a_clip(task: AlignmentTask, batch: int, device: torch.device) -> float:
    """Operations of one training step, forward and backward, divided by its clips."""
    # A copy: what a step changes must not be measured next.
    task = copy.deepcopy(task).to(device).train()
    task.on_fit_start()
    waveform = 0.1 * torch.randn(batch, task.encoder.clip_samples, device=device)
    rows = torch.arange(batch, device=device)
    with warnings.catch_warnings(), FlopCounterMode(display=False) as counter:
        # Outside a trainer there is nowhere to log to, which Lightning remarks on.
        warnings.simplefilter("ignore")
        loss = task.training_step(Batch(waveform, rows, torch.arange(batch)), 0)
        torch.autograd.backward(loss)
    return float(counter.get_total_flops()) / batch
