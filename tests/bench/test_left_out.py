"""A source that is left out is neither trained nor validated on, and is the one whose figures are told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from align.corpora import Recording, read_table
from bench.left_out import measure, settings_of, sources_of
from distill.training import select
from edge import synthesis
from edge.errors import UserError

RATE = 16_000
SHORT = {"width": 16, "context_blocks": 1, "scenes": 16, "windows_per_epoch": 64, "workers": 0, "epochs": 1}


def _row(corpus: str, event: str, number: int, split: str = "train") -> Recording:
    name = f"{corpus}-{event}-{number}"
    return Recording(Path(f"{name}.wav"), corpus, name, split, "airborne", event)


def test_label_that_lives_in_one_source_is_not_trained_without_it() -> None:
    rows = [_row("phone", event, number) for event in ("cough", "breath") for number in range(40)]
    rows += [_row("hall", event, number) for event in ("cough", "speech") for number in range(40)]
    chosen = settings_of("phone", rows, Path("table.csv"), Path("runs"), {})
    assert chosen.labels == ("cough", "speech")
    assert chosen.exclude_corpora == ("phone",)
    assert chosen.output == Path("runs/phone")
    with pytest.raises(UserError, match="without phone no label has 30 training recordings"):
        settings_of("phone", rows[:80], Path("table.csv"), Path("runs"), {})


def test_parts_of_one_collection_are_left_out_together() -> None:
    rows = [_row(corpus, "cough", number) for corpus in ("esc10", "esc50-f4", "phone") for number in range(40)]
    rows += [_row("esc10", "rain", 0, "test"), _row("phone", "cough", 99, "test"), _row("own", "cough", 0, "test")]
    assert sources_of(rows) == ["ESC", "phone"]
    assert settings_of("ESC", rows, Path("table.csv"), Path("runs"), {}).exclude_corpora == ("esc10", "esc50-f4")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Coughs and speech of two sources, 64 recordings each to train on and 12 to test with."""
    rng = np.random.default_rng(2)
    sounds = {"cough": [synthesis.cough(rng) for _ in range(4)], "speech": [synthesis.speech(rng, 0.8)] * 4}
    lines = ["path,corpus,group,split,modality,event,cough_times,licence"]
    for corpus in ("phone", "hall"):
        for split, count in (("train", 32), ("test", 6)):
            for event, made in sounds.items():
                for number in range(count):
                    name = f"{corpus}-{split}-{event}-{number}"
                    sound = made[number % 4]
                    samples = np.concatenate([np.zeros(RATE // 4), 0.3 * sound / np.abs(sound).max()])
                    soundfile.write(tmp_path / f"{name}.wav", samples + 1e-3 * rng.standard_normal(len(samples)), RATE)
                    times = "0.25-0.50" if event == "cough" else ""
                    lines.append(f"{name}.wav,{corpus},{name},{split},airborne,{event},{times},CC0-1.0")
    (tmp_path / "recordings.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "recordings.csv"


@pytest.mark.slow
def test_table_tells_the_source_that_was_left_out_beside_the_bundle_that_ships(table: Path, tmp_path: Path) -> None:
    lines = measure(table, tmp_path / "runs", None, ["phone"], SHORT)
    rows = [tuple(re.split("  +", line)) for line in lines[1:]]
    assert [row[:5] for row in rows] == [
        ("never heard it", "cough", "phone", "6", "6"),
        ("never heard it", "speech", "phone", "6", "6"),
        ("ships", "cough", "phone", "6", "6"),
        ("ships", "breath", "phone", "0", "12"),
        ("ships", "speech", "phone", "6", "6"),
    ]
    assert (tmp_path / "runs" / "phone" / "last.ckpt").is_file()
    heard = {row.corpus for row in select(settings_of("phone", read_table(table), table, tmp_path / "runs", SHORT))}
    assert heard == {"hall"}


def test_source_that_is_not_there_is_told(table: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no source cellar to leave out, only hall, phone"):
        measure(table, tmp_path, None, ["cellar"], {})
