"""Files with made-up weights in the layout of OPERA's checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.align.encoders import published


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`operaCE`, `operaCT` and `operaGT` to Lightning checkpoints of them."""
    folder = tmp_path_factory.mktemp("published")
    paths = {name: folder / f"encoder-{name}.ckpt" for name in ("operaCE", "operaCT", "operaGT")}
    for name, path in paths.items():
        content = {"epoch": 149, "state_dict": published.tensors(name), "hyper_parameters": {"max_len": 251}}
        torch.save(content, path)
    return paths
