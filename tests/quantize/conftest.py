"""A corpus of synthetic sounds and a tiny student that tells them apart, both made in a moment."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from align.audio import load
from align.corpora import read_table
from distill.frontend import LogMel
from distill.student import Student, StudentShape
from edge import synthesis
from edge.bundle import FrontEnd
from quantize.checkpoint import Checkpoint, load_checkpoint

LABELS = ("cough", "breath", "speech")
RATE = 16_000
WINDOW_S = 1.0
PER_SPLIT = {"train": 25, "validation": 12, "test": 18}
"""Recordings of each event: as few as a label needs that is to ship."""


def _recording(event: str, rng: np.random.Generator) -> tuple[NDArray[np.float32], str]:
    """A recording of one to two seconds and the marked times of its coughs."""
    samples = (1e-3 * rng.standard_normal(int(rng.uniform(1.0, 2.0) * RATE))).astype(np.float32)
    sound = {
        "cough": lambda: synthesis.cough(rng),
        "breath": lambda: synthesis.breath(rng),
        "speech": lambda: synthesis.speech(rng, 0.8),
        "door_wood_knock": lambda: synthesis.knock(rng),
    }[event]()[: len(samples) // 2]
    start = int(rng.integers(len(samples) - len(sound)))
    samples[start : start + len(sound)] += 0.3 * sound / np.abs(sound).max()
    return samples, f"{start / RATE:.3f}-{(start + len(sound)) / RATE:.3f}" if event == "cough" else ""


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the synthetic corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(7)
    rows = []
    for split, count in PER_SPLIT.items():
        for event in (*LABELS, "door_wood_knock"):
            for number in range(count):
                samples, times = _recording(event, rng)
                name = f"{split}-{event}-{number}.wav"
                soundfile.write(folder / name, samples, RATE)
                rows.append(
                    {
                        "path": name,
                        "corpus": "own",
                        "group": name,
                        "split": split,
                        "event": event,
                        "cough_times": times,
                        "licence": "CC0-1.0",
                    }
                )
    table = folder / "recordings.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


def _steps(student: Student, log_mel: torch.Tensor) -> torch.Tensor:
    """Features (steps, channels) before the head."""
    normalised = (log_mel.unsqueeze(1) + 5.0) / 4.0
    return student.context(student.collapse(student.stem(normalised)))[:, :, 0].transpose(1, 2).flatten(0, 1)


@torch.inference_mode()
def _student(table: Path) -> Student:
    """Random convolutions and a head fitted to the training recordings in closed form: no training, yet not blind."""
    torch.manual_seed(3)
    student = Student(StudentShape(labels=len(LABELS), width=16, context_blocks=1, embedding_size=16)).eval()
    features, targets = [], []
    for row in read_table(table):
        if row.split != "train":
            continue
        samples = torch.from_numpy(load(row.path, RATE))
        found = _steps(student, LogMel(FrontEnd())(samples[None]))
        level = (
            samples[: len(found) * 640].reshape(len(found), -1).square().mean(1)
            if len(samples) >= 640 * len(found)
            else None
        )
        loud = torch.ones(len(found)) if level is None else (level > 1e-4).float()
        features.append(found)
        targets.append(torch.stack([loud * (row.event == label) for label in LABELS], dim=1))
    x = torch.cat(features).double()
    x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    y = 10.0 * torch.cat(targets).double() - 5.0
    fitted = torch.linalg.solve(x.T @ x + 1e-2 * torch.eye(x.shape[1], dtype=torch.float64), x.T @ y)
    student.step_head.weight.copy_(fitted[:-1].T[:, :, None, None])
    student.step_head.bias.copy_(fitted[-1])
    student.window_head.weight.zero_()
    student.window_head.bias.fill_(10.0)
    return student


@pytest.fixture(scope="session")
def student(recordings: Path) -> Student:
    return _student(recordings)


@pytest.fixture(scope="session")
def save_checkpoint() -> Callable[[Student, Path], Path]:
    """Writes a student as Lightning does with averaged weights."""

    def save(student: Student, path: Path) -> Path:
        weights = {f"student.{name}": value for name, value in student.state_dict().items()}
        hyper_parameters: dict[str, Any] = {
            "shape": asdict(student.shape),
            "labels": LABELS,
            "front_end": FrontEnd().model_dump(),
            "learning_rate": 1e-3,
            "window_s": WINDOW_S,
            "data": {
                "seed": 0,
                "validation_share": 0.0,
                "exclude_corpora": [],
                "corpora": [{"name": "own", "licences": ["CC0-1.0"], "recordings": 36}],
            },
        }
        raw = {name: torch.zeros_like(value) for name, value in weights.items()}
        torch.save({"hyper_parameters": hyper_parameters, "state_dict": weights, "current_model_state": raw}, path)
        return path

    return save


@pytest.fixture(scope="session")
def checkpoint_path(
    student: Student, save_checkpoint: Callable[[Student, Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return save_checkpoint(student, tmp_path_factory.mktemp("run") / "best.ckpt")


@pytest.fixture(scope="session")
def checkpoint(checkpoint_path: Path) -> Checkpoint:
    return load_checkpoint(checkpoint_path)
