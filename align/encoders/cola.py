"""COLA, contrastive learning of audio: two crops of a clip are to be nearer to each other than to crops of other clips.

After Saeed, Grangier and Zeghidour, Contrastive Learning of General-Purpose Audio Representations (arXiv 2010.10915),
with the projection, the masking of rows, the gain and the lengths of OPERA's training. One deviation: OPERA gives all
crops of a batch one length, chosen by their corpus. Here the length is drawn for each crop, and a short crop is
repeated until it is as long as the longest may be, as OPERA repeats short recordings; so crops of all lengths form one
batch, and no length tells which crops belong together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from align.distributed import gather
from align.encoders.seeds import uniform

SHORTEST_CROP = 50
LONGEST_CROP = 200
"""Frames of OPERA's crops, at 31.25 frames a second: 1.6 to 6.4 seconds."""

HIDE_ROW = 0.1
HIDE_NEXT_ROW = 0.2
"""A row is hidden with the first probability, and one that follows a hidden row with the second as well."""

GAIN = (0.9, 1.1)


def two_crops(
    features: Tensor, seeds: Tensor, *, shortest: int = SHORTEST_CROP, longest: int = LONGEST_CROP
) -> tuple[Tensor, Tensor]:
    """Two crops of every clip, chosen by its seed alone, with some rows hidden and a gain each.

    Args:
        features: (batch, time, bands).
        seeds: (batch,) int64.
        shortest: frames that a crop has at least, or all that there are.
        longest: frames that it has at most, and that are given back.

    Returns:
        Twice (batch, min(longest, time), bands).
    """
    draws = uniform(seeds, 6 + features.shape[1])
    hidden = _hidden_rows(draws[:, 6:]).to(features.device)
    features = torch.where(hidden.unsqueeze(2), features.mean(dim=(1, 2), keepdim=True), features)
    return _crop(features, draws[:, :3], shortest, longest), _crop(features, draws[:, 3:6], shortest, longest)


def _hidden_rows(draws: Tensor) -> Tensor:
    """(batch, time) bool: runs that begin at a draw under HIDE_ROW and last while draws are under the sum."""
    position = torch.arange(draws.shape[1]).expand_as(draws)
    never = torch.full_like(position, -1)
    begins = torch.where(draws < HIDE_ROW, position, never).cummax(dim=1).values
    ends = torch.where(draws >= HIDE_ROW + (1 - HIDE_ROW) * HIDE_NEXT_ROW, position, never).cummax(dim=1).values
    return begins > ends


def _crop(features: Tensor, draws: Tensor, shortest: int, longest: int) -> Tensor:
    """Cut by (batch, 3) numbers in [0, 1): length, start and gain."""
    time = features.shape[1]
    longest = min(longest, time)
    shortest = min(shortest, longest)
    length = shortest + (draws[:, :1] * (longest - shortest + 1)).long()
    start = (draws[:, 1:2] * (time - length + 1)).long()
    rows = start + torch.arange(longest) % length
    gain = GAIN[0] + (GAIN[1] - GAIN[0]) * draws[:, 2:]
    index = rows.to(features.device).unsqueeze(2).expand(-1, -1, features.shape[2])
    return features.gather(1, index) * gain.to(features).unsqueeze(2)


class Cola(nn.Module):
    """Contrast of two crops: which of all second crops is of the same clip as the first?

    ```
    p(x)    = tanh(LayerNorm(G x + g))
    s_ij    = p(a_i)' W' p(b_j)
    loss    = mean_i( -log( exp(s_ii) / sum_j exp(s_ij) ) )
    ```

    with `a`, `b` the embeddings of the first and second crops, and dropout before and after G and after tanh. Source:
    arXiv 2010.10915, section 3; the sizes and dropout are OPERA's. The clips of all processes are compared.

    Example:
        >>> loss = Cola(1280)(torch.randn(8, 1280), torch.randn(8, 1280))
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        projection_size: int = 512,
        dropout: float = 0.1,
    ) -> None:
        """Make the layers.

        Args:
            embedding_size: numbers of an embedding.
            projection_size: numbers that are compared.
            dropout: share of numbers that training leaves out.
        """
        super().__init__()
        self.projection = nn.Linear(embedding_size, projection_size)
        self.norm = nn.LayerNorm(projection_size)
        self.bilinear = nn.Linear(projection_size, projection_size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Scalar loss of embeddings (batch, embedding_size) of the first and the second crops."""
        a, b = gather(self._project(first)), gather(self._project(second))
        similarity = self.bilinear(a) @ b.T
        return F.cross_entropy(similarity.float(), torch.arange(len(a), device=a.device))

    def _project(self, embedding: Tensor) -> Tensor:
        hidden = self.dropout(self.projection(self.dropout(embedding)))
        projected: Tensor = self.dropout(torch.tanh(self.norm(hidden)))
        return projected
