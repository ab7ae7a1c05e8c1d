"""How much of an answer lies in frozen embeddings: a linear probe, fitted on training people and scored on others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from align.corpora import CorpusError
from align.tasks import Examples

STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Inverse strengths of the penalty to choose from, by cross-validation over the training people."""

FOLDS = 5


def need_people(train: Examples) -> None:
    """Refuse to fit a probe on too few people.

    Raises:
        CorpusError: there are fewer than `FOLDS` people with either answer.
    """
    for answer, word in ((True, "yes"), (False, "no")):
        people = len({group for group, is_so in zip(train.groups, train.answers, strict=True) if is_so == answer})
        if people < FOLDS:
            raise CorpusError(f"a probe needs {FOLDS} training people whose answer is {word}; there are {people}")


def fit_probe(train: Examples) -> Any:
    """A standardised logistic regression with the penalty that is best on people left out of the training ones.

    Raises:
        CorpusError: as `need_people`.
    """
    need_people(train)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)),
        {"logisticregression__C": STRENGTHS},
        scoring="roc_auc",
        cv=StratifiedGroupKFold(FOLDS),
    )
    return search.fit(train.features, train.answers, groups=np.array(train.groups))


def probe_scores(train: Examples, test: Examples) -> NDArray[np.float64]:
    """Scores (units,) of the test units; higher means yes.

    Raises:
        CorpusError: as `fit_probe`.
    """
    return np.asarray(fit_probe(train).decision_function(test.features), dtype=np.float64)
