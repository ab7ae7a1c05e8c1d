"""Settings to begin with, and what a training needs.

`acula` has the hyper-parameters of the code released with arXiv 2512.04847 (with the pairing minded, which that loss
does not do: `--objective.name released` is the loss as it stands there). `demo` trains on a synthesised corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

NEEDS = """python -m align.train needs three things:
  --recordings  a CSV of your recordings (path, group, split and columns of metadata), or a folder that
                python -m align.prepare CORPUS --root DIR --output DIR wrote
  --reports     a Parquet file: python -m align.report --recordings CSV --output reports.parquet
  --output      a folder for what it leaves
The teacher is google/medgemma-4b-pt unless --teacher.model names another model or a folder; minilm is a small one that
comes with the package. --help lists every setting. To see it run, without data and on a CPU:
  python -m align.train --preset demo --output runs/demo"""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "acula": {
        "encoder": {"name": "opera-gt", "clip_s": 8.18},
        "teacher": {
            "model": "google/medgemma-4b-pt",
            "layer": -1,
            "pooling": "mean",
            "unit": "report",
            "max_tokens": 128,
        },
        "objective": {"text": "head", "audio_head": "mlp", "pointwise": 0.0, "preservation": 1.0},
        "batch_size": 24,
        "accumulate": 2,
        "epochs": 50,
        "learning_rate": 1e-5,
        "weight_decay": 1e-2,
        "schedule": "linear",
        "warmup_steps": 400,
        "averaged": False,
    },
    "demo": {
        "encoder": {"name": "scratch-conv", "sample_rate_hz": 4000, "clip_s": 4.0},
        "teacher": {"model": "minilm"},
        "tasks": [{"name": "murmur", "column": "murmur", "positive": ["Present"], "negative": ["Absent"]}],
        "validation_share": 0.25,
        "batch_size": 48,
        "epochs": 20,
    },
}


def fill_in(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of their preset where they name none; what is wrong is left for the check of values."""
    name = given.get("preset", "")
    filled = dict(given)
    if name == "demo" and "output" in given:
        corpus = Path(str(given["output"])) / "corpus"
        filled = {"recordings": corpus / "recordings.csv", "reports": corpus / "reports.parquet"} | filled
    for key, value in PRESETS.get(str(name), {}).items():
        given_value = filled.get(key, {})
        both = isinstance(value, Mapping) and isinstance(given_value, Mapping)
        filled[key] = {**value, **given_value} if both else filled.get(key, value)
    return filled
