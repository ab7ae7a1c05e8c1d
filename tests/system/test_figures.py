"""What the bundles that ship must reach on people whom they never heard. Nothing is chosen by what is found here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.audio import load
from align.clips import open_clips
from align.corpora import Recording, read_table
from align.statistics import auroc
from bench.auscultation import QUESTION, as_clips, hear
from bench.listening import Listener, open_bundle
from bench.scenes import hear as hear_scene
from bench.speech import Talk
from edge.bundle import find_bundle
from quantize.questions import PEOPLE, asked, log_odds
from quantize.scenes import Composer

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener(open_bundle(None))


@pytest.fixture(scope="module")
def held_out(corpus_table: Path) -> list[Recording]:
    return [row for row in read_table(corpus_table) if row.split == "test" and row.modality == "airborne"]


@pytest.mark.parametrize("corpus", ["coughseg", "coswara"])
def test_coughs_are_told_from_other_sounds_of_the_same_source(
    listener: Listener, held_out: list[Recording], corpus: str
) -> None:
    rows = [row for row in held_out if row.corpus == corpus]
    scores = [heard.scores["cough"] for heard in listener.hear_all(rows)]
    assert auroc([row.event == "cough" for row in rows], scores) >= 0.99


def test_ten_minutes_of_talk_hold_hardly_a_cough(listener: Listener, held_out: list[Recording]) -> None:
    rate = listener.bundle.manifest.front_end.sample_rate_hz
    rows = [row for row in held_out if row.event == "speech" or row.times_s]
    talk = Talk(Composer([(row, load(row.path, rate)) for row in rows], "cough", rate), seed=0)
    assert len(hear_scene(listener, talk.scene(), rate).onsets_s("cough")) <= 1


def test_murmur_is_told_child_by_child(corpus_table: Path) -> None:
    bundle = open_bundle(find_bundle("auscultation"))
    opened = open_clips(corpus_table, bundle.manifest.front_end.sample_rate_hz, ("circor",))
    test = opened.keep([at for at, row in enumerate(opened.rows) if row.split == "test"])
    clips = as_clips(test, bundle.manifest.front_end.sample_rate_hz)
    children = asked(QUESTION, clips, 0, log_odds(hear(bundle, clips)[0], 0))[PEOPLE]
    assert np.bincount(children.answers).tolist() == [138, 28]
    assert auroc(children.answers, children.features[:, 0]) >= 0.90
