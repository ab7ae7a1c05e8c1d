"""Audio encoders behind one protocol (`align.encoders.base`), by name of their family."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from align.encoders.errors import EncoderError
from align.encoders.spec import EncoderSpec

if TYPE_CHECKING:
    from align.encoders.base import Encoder

__all__ = ["FAMILIES", "EncoderError", "EncoderSpec", "build_encoder", "refuse_unknown"]

FAMILIES = {
    "opera-ct": "align.encoders.opera_ct",
    "opera-ce": "align.encoders.opera_ce",
    "opera-gt": "align.encoders.opera_gt",
    "transformers": "align.encoders.pretrained",
    "scratch-conv": "align.encoders.scratch_conv",
    "scratch-vit": "align.encoders.scratch_vit",
}
"""Family to the module that builds it; imported when it is asked for, since each pulls in a library of its own."""


def refuse_unknown(name: str) -> None:
    """Stop if there is no such family.

    Raises:
        EncoderError: that is so.
    """
    if name not in FAMILIES:
        raise EncoderError(f"no encoder {name}; there are {', '.join(FAMILIES)}")


def build_encoder(spec: EncoderSpec) -> Encoder:
    """Build an encoder and load its published weights, if it names any.

    Raises:
        EncoderError: no such family, or a checkpoint that is missing, unreadable or of another architecture.
    """
    refuse_unknown(spec.name)
    encoder: Encoder = import_module(FAMILIES[spec.name]).build(spec)
    return encoder
