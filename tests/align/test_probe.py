"""A linear probe: what is there it finds in other people, what is not it does not."""

from __future__ import annotations

import numpy as np
import pytest

from align.corpora import CorpusError
from align.probe import fit_probe, probe_scores
from align.statistics import auroc
from align.tasks import Examples


def people(count: int, signal: float, seed: int, per_person: int = 2) -> Examples:
    """Embeddings of 16 numbers: noise of a person's own, and the answer along one direction."""
    rng = np.random.default_rng(seed)
    answers = np.arange(count) % 3 == 0
    own = np.repeat(rng.normal(size=(count, 16)), per_person, axis=0)
    features = own + 0.3 * rng.normal(size=own.shape)
    features[:, 0] += signal * np.repeat(answers, per_person)
    groups = tuple(f"{seed}-{person}" for person in range(count) for _ in range(per_person))
    return Examples(features.astype(np.float32), np.repeat(answers, per_person), groups)


def test_probe_of_separable_people_ranks_people_it_has_not_met() -> None:
    test = people(60, 5.0, 1)
    assert auroc(test.answers, probe_scores(people(60, 5.0, 0), test)) > 0.98


def test_probe_of_noise_ranks_other_people_by_chance() -> None:
    found = []
    for seed in range(6):
        test = people(60, 0.0, 100 + seed)
        found.append(auroc(test.answers, probe_scores(people(60, 0.0, seed), test)))
    assert 0.4 < np.mean(found) < 0.6


def test_probe_minds_no_scale_of_the_embeddings() -> None:
    train, test = people(40, 2.0, 0), people(40, 2.0, 1)
    scale = np.logspace(-3, 3, 16)
    other = probe_scores(
        Examples((7 * scale + train.features * scale).astype(np.float32), train.answers, train.groups),
        Examples((7 * scale + test.features * scale).astype(np.float32), test.answers, test.groups),
    )
    assert auroc(test.answers, other) == pytest.approx(auroc(test.answers, probe_scores(train, test)), abs=0.02)


def test_penalty_is_chosen_on_people_left_out() -> None:
    """Each person's recordings are alike: who is on both sides is recognised, and no penalty would look best."""
    train = people(60, 0.0, 0, per_person=6)
    order = np.random.default_rng(0).permutation(len(train.answers))
    mixed = Examples(train.features[order], train.answers[order], tuple(train.groups[row] for row in order))
    assert fit_probe(mixed).best_score_ < 0.7


@pytest.mark.parametrize(("flip", "word"), [(False, "yes"), (True, "no")])
def test_too_few_people_of_an_answer_are_one_line(flip: bool, word: str) -> None:
    train = people(12, 1.0, 0)
    few = Examples(train.features, train.answers != flip, train.groups)
    with pytest.raises(CorpusError, match=f"^a probe needs 5 training people whose answer is {word}; there are 4$"):
        fit_probe(few)
