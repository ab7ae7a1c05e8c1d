"""The fixed text side, and the term that keeps dimensions apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from align.objectives import CKALoss, ObjectiveError, TextGeometry, VarianceCovariance


def reports(count: int = 200, size: int = 12) -> Tensor:
    """Embeddings with one large component in common and directions of very unequal variance."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.logspace(1, -2, size)
    return torch.randn(count, size, generator=generator) * spread @ _rotation(size) + 20


def _rotation(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(1))).Q


def test_whitened_reports_have_unit_covariance_in_the_largest_directions() -> None:
    embeddings = reports()
    geometry = TextGeometry("whitened", 12, 5)
    geometry.fit(embeddings)
    white = geometry(embeddings)
    assert white.shape == (200, 5)
    np.testing.assert_allclose(np.cov(white.numpy().T, bias=True), np.eye(5), atol=1e-3)
    # The same as principal components by singular values, up to the sign of each.
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    scores = torch.linalg.svd(centred, full_matrices=False).U[:, :5] * np.sqrt(200)
    torch.testing.assert_close(white.abs(), scores.abs().float(), atol=2e-3, rtol=0)


def test_centred_reports_have_norm_one_about_their_mean() -> None:
    embeddings = reports()
    geometry = TextGeometry("centred", 12)
    geometry.fit(embeddings)
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    expected = centred / centred.norm(dim=1, keepdim=True)
    torch.testing.assert_close(geometry(embeddings), expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "size"), [("centred", 12), ("whitened", 4)])
def test_geometry_is_not_trained_and_goes_on_from_a_checkpoint(kind: str, size: int) -> None:
    embeddings = reports()
    geometry, loaded = TextGeometry(kind, 12, size), TextGeometry(kind, 12, size)  # type: ignore[arg-type]
    geometry.fit(embeddings)
    loaded.load_state_dict(geometry.state_dict())
    assert torch.equal(loaded(embeddings), geometry(embeddings))
    assert not list(geometry.parameters())


def test_geometry_is_of_the_training_reports_and_not_of_the_batch() -> None:
    geometry = TextGeometry("whitened", 12, 4)
    geometry.fit(reports())
    batch = reports()[:7] + 3
    torch.testing.assert_close(geometry(batch)[2:3], geometry(batch[2:3]))


def test_geometry_of_mixed_precision_is_float32() -> None:
    geometry = TextGeometry("whitened", 12, 4)
    geometry.fit(reports().bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert geometry(reports().bfloat16()).dtype == torch.float32


def test_geometry_that_was_never_fitted_is_told() -> None:
    with pytest.raises(ObjectiveError, match="never fitted"):
        TextGeometry("centred", 12)(reports())


def test_more_directions_than_the_reports_vary_in_are_told() -> None:
    few_texts = reports(4).repeat(50, 1)
    with pytest.raises(ObjectiveError, match="200 reports vary in 3 directions, 5 are asked for"):
        TextGeometry("whitened", 12, 5).fit(few_texts)


def test_reports_that_are_all_alike_are_told() -> None:
    with pytest.raises(ObjectiveError, match="vary in 0 directions"):
        TextGeometry("centred", 12).fit(reports(1).repeat(50, 1))


@pytest.mark.parametrize("embeddings", [torch.full((9, 12), torch.nan), torch.zeros(0, 12), torch.zeros(9, 11)])
def test_embeddings_that_cannot_be_fitted_are_told(embeddings: Tensor) -> None:
    with pytest.raises(ObjectiveError, match="embeddings of reports are"):
        TextGeometry("centred", 12).fit(embeddings)


@pytest.mark.parametrize(("kind", "size"), [("centred", 4), ("whitened", 13), ("whitened", 0)])
def test_sizes_that_cannot_be_are_told(kind: str, size: int) -> None:
    with pytest.raises(ObjectiveError, match="text"):
        TextGeometry(kind, 12, size)  # type: ignore[arg-type]


def test_variance_covariance_equals_the_slow_formula() -> None:
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 0.5, 1.0, 3.0])
    rows = x.double().numpy()
    flat = sum(max(0.0, 1 - np.sqrt(rows[:, j].var(ddof=1) + 1e-4)) for j in range(4)) / 4
    together = sum(np.cov(rows[:, i], rows[:, j])[0, 1] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    assert VarianceCovariance(2.0, 3.0)(x).item() == pytest.approx(2 * flat + 3 * together, rel=1e-4)


def test_variance_covariance_is_finite_for_constant_features() -> None:
    x = torch.full((8, 5), 0.3, requires_grad=True)
    loss = VarianceCovariance()(x)
    loss.backward()
    assert loss.item() == pytest.approx(0.99, abs=1e-3)
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_variance_of_one_vector_is_told() -> None:
    with pytest.raises(ObjectiveError, match="a variance needs 2 pairs, the batch has 1"):
        VarianceCovariance()(torch.zeros(1, 5))


def directions_used(guarded: bool) -> float:
    """Train two free heads on recordings and reports that have nothing in common; dimensions that audio is left with.

    Counted as (sum of variances)^2 / sum of squared variances along the principal directions.
    """
    torch.manual_seed(0)
    sound, text = torch.randn(32, 48), torch.randn(32, 48)
    heads = nn.ModuleList([nn.Linear(48, 8), nn.Linear(48, 8)])
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        a, t = heads[0](sound), heads[1](text)
        loss = CKALoss()(a, t)
        if guarded:
            loss = loss + VarianceCovariance()(a) + VarianceCovariance()(t)
        loss.backward()
        optimizer.step()
    variance = torch.linalg.eigvalsh(torch.cov(heads[0](sound).detach().T))
    return float(variance.sum() ** 2 / variance.square().sum())


def test_variance_covariance_keeps_free_heads_from_collapsing() -> None:
    assert directions_used(guarded=True) > directions_used(guarded=False) + 1
