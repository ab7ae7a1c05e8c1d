"""Regression of a recording onto its report's vector."""

from __future__ import annotations

from torch import Tensor, nn

from align.objectives.pairs import full_precision, gather_pairs, need_pairs, same_size, unit


class Pointwise(nn.Module):
    """1 - mean cosine of a recording and its own report, over all processes.

        loss = 1 - mean_i cos(a_i, t_i)

    `CKALoss` aligns two geometries up to a rotation and so leaves audio and text in two spaces. This one puts an audio
    head's output (batch, d) where the report lies, so that retrieval can compare the two. The text must be fixed and
    centred or whitened (`TextGeometry`): in raw embeddings all reports are alike, and all recordings would be put onto
    their mean. No negatives, so that equal reports need no care. The plain cosine term of feature regression, as in
    arXiv 2006.07733 with a fixed target.
    """

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Scalar loss of (batch, d) audio and (batch, d) text.

        Raises:
            ObjectiveError: shapes that do not belong together, or no pairs.
        """
        same_size(audio, text)
        audio, text = gather_pairs(audio, text)
        need_pairs(len(audio), 1, "a mean")
        with full_precision(audio):
            return 1 - (unit(audio) * unit(text)).sum(dim=1).mean()
