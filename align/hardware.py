"""What the machine can do that decides how a training runs on it."""

from __future__ import annotations

import torch


def has_bfloat16() -> bool:
    """Whether the machine multiplies bfloat16 faster than float32, as many servers of the last years do."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
