"""A tiny corpus of synthesised sounds, in the form of a corpus table, and an encoder aligned to such hearts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import teaching
from tests.aligning import Aligned, corpus_of, settings_of

RATE = 16000


def sound(event: str, rng: np.random.Generator) -> np.ndarray:
    """Two seconds with one burst (cough), hiss (breath), hum (speech) or tone (dog)."""
    time = np.arange(2 * RATE) / RATE
    samples = 1e-3 * rng.standard_normal(len(time))
    if event == "cough":
        samples[8000:14000] += 0.4 * rng.standard_normal(6000) * np.exp(-np.arange(6000) / 1500)
    elif event == "breath":
        samples += 0.05 * rng.standard_normal(len(time)) * np.sin(np.pi * time / 2) ** 2
    elif event == "speech":
        samples[6000:26000] += sum(0.1 * np.sin(2 * np.pi * 140 * k * time[6000:26000]) for k in range(1, 12))
    elif event == "dog":
        samples[10000:16000] += 0.5 * np.sin(2 * np.pi * 900 * time[10000:16000])
    return samples.astype(np.float32)


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a table with 48 training and 16 test recordings."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines = ["path,corpus,group,split,modality,event,cough_times,licence"]
    for index in range(64):
        event = ("cough", "breath", "speech", "dog")[index % 4]
        name = f"{event}-{index}.flac"
        soundfile.write(folder / name, sound(event, rng), RATE)
        split = "test" if index >= 48 else "train"
        times = "0.500-0.800" if event == "cough" else ""
        lines.append(f"{name},tiny,person-{index},{split},airborne,{event},{times},CC0-1.0")
    table = folder / "recordings.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


HEARTS = 40


@pytest.fixture(scope="session")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Aligned:
    """An encoder aligned to the reports of synthesised hearts, two epochs; tests leave it as it is."""
    from align.training import train

    place = corpus_of(tmp_path_factory.mktemp("hearts"), HEARTS)
    train(settings_of(place, epochs=2, validation_share=0.25))
    return place


@pytest.fixture(scope="session")
def taught(hearts: Aligned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished teaching with a label made of text; tests leave it as it is."""
    from distill.course import teach

    output = tmp_path_factory.mktemp("taught") / "run"
    return teach(teaching.settings(hearts, output, text_labels=[teaching.TEXT_LABEL])).parent
