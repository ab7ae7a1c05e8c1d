"""Two real processes with DistributedDataParallel against one that has the whole batch."""

from __future__ import annotations

import pytest
import torch

from align.distributed import gather
from tests.ranks import BATCH, OBJECTIVES, Results, results, results_of_two

SPLITS = ((6, 6), (4, 8), (0, 12))
"""Rows of each batch that the two hold."""


@pytest.fixture(scope="module")
def alone() -> Results:
    return results(slice(0, BATCH), wrap=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Results], list[Results]]:
    return results_of_two(SPLITS, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("split", range(len(SPLITS)), ids=[str(lengths) for lengths in SPLITS])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_and_gradient_are_those_of_one_process(
    name: str, split: int, alone: Results, two: tuple[list[Results], list[Results]]
) -> None:
    for rank in two:
        torch.testing.assert_close(rank[split][name], alone[name], atol=1e-5, rtol=1e-5)


def test_one_process_keeps_its_features_as_they_are() -> None:
    features = torch.randn(3, 2)
    assert gather(features) is features
