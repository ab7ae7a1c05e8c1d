"""Reports by a model on this machine: a tiny one of random weights, whose babble the check must refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pyarrow import parquet
from transformers import PreTrainedTokenizerFast

from align.report import report
from align.reports.config import ReportSettings
from align.reports.errors import WriterError
from align.reports.local import Draw, as_text
from align.reports.work import Counts
from tests.align.conftest import write_table

pytestmark = pytest.mark.usefixtures("one_thread")


def write(table: Path, name: str, model: Path, **changes: object) -> tuple[Counts, list[dict[str, object]]]:
    settings = {"recordings": table, "output": table.parent / name, "writer": "local", "model": str(model)}
    small = {"max_tokens": 16, "attempts": 2, "batch": 4}
    counts, _ = report(ReportSettings.model_validate({**settings, **small, **changes}))
    return counts, parquet.read_table(table.parent / name).to_pylist()


def test_babble_is_refused_replaced_and_counted(table: Path, tiny_model: Path) -> None:
    counts, rows = write(table, "r.parquet", tiny_model)
    assert (counts.written, counts.refused, counts.fallbacks) == (6, 12, 6)
    assert {(row["writer"], row["model"], row["attempts"]) for row in rows} == {("template", str(tiny_model), 2)}
    assert all("dropped: murmur" in str(row["problems"]) for row in rows)


def test_sampling_depends_on_the_seed_and_not_on_the_batch(tmp_path: Path, tiny_model: Path) -> None:
    table = write_table(tmp_path, 3)

    def babble(name: str, **changes: object) -> list[object]:
        return [row["problems"] for row in write(table, name, tiny_model, attempts=1, **changes)[1]]

    together = babble("a.parquet", batch=3)
    assert babble("b.parquet", batch=1) == together
    assert babble("c.parquet", seed=1) != together
    assert babble("d.parquet", temperature=0) == babble("e.parquet", temperature=0, seed=1)


def test_draw_follows_the_probabilities() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).repeat(4000, 1)
    drawn = Draw(list(range(4000)), 1.0)(torch.zeros(4000, 1), scores).argmax(1)
    shares = torch.bincount(drawn, minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.03, rtol=0)


def test_conversation_uses_the_models_own_template(tiny_model: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_model)
    tokenizer.chat_template = None
    conversation = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Report."}]
    assert as_text(tokenizer, conversation) == "Be brief.\n\nReport.\n\n"
    tokenizer.chat_template = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
    assert as_text(tokenizer, conversation) == "[system]Be brief.[user]Report."


def test_model_that_is_not_there_is_named_in_one_line(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WriterError, match=r"--model .*gone: cannot be loaded") as caught:
        write(table, "r.parquet", table.parent / "gone")
    assert "\n" not in str(caught.value)


def test_folder_without_weights_is_named_in_one_line(table: Path, tiny_model: Path) -> None:
    folder = table.parent / "half"
    folder.mkdir()
    for path in tiny_model.iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(WriterError, match="half: cannot be loaded") as caught:
        write(table, "r.parquet", folder)
    assert "\n" not in str(caught.value)


def test_prompt_longer_than_the_model_is_told(table: Path, tiny_model: Path) -> None:
    with pytest.raises(WriterError, match=r"has room for 4096 tokens, a prompt needs .*; lower --max_tokens"):
        write(table, "r.parquet", tiny_model, max_tokens=4000)
