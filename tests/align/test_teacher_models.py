"""Teachers of every build: each embedding is what the model's own class makes of that report alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from align.teacher import TeacherError, TeacherSpec, embed
from align.teacher.text_model import load, pool
from tests.teachers import FAMILIES, REPORTS, embed_alone, save_teacher

WEIGHTS = "model.safetensors"


pytestmark = pytest.mark.usefixtures("one_thread")


def spec_of(folder: Path, **settings: Any) -> TeacherSpec:
    return TeacherSpec(model=str(folder), **settings)


@pytest.mark.parametrize(("layer", "pooling"), [(-1, "mean"), (1, "last")])
@pytest.mark.parametrize("family", FAMILIES)
def test_embedding_is_that_of_the_report_alone(tmp_path: Path, family: str, layer: int, pooling: str) -> None:
    folder = tmp_path / "model"
    model = save_teacher(folder, family)
    expected = embed_alone(model, folder, REPORTS, layer, pooling)
    assert np.ptp(expected, axis=0).max() > 0.01
    found = embed(REPORTS, spec_of(folder, layer=layer, pooling=pooling), tmp_path / "cache", device="cpu")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_side_of_the_tokenizers_padding_changes_nothing(tmp_path: Path, family: str) -> None:
    found = []
    for padding in ("left", "right", None):
        folder = tmp_path / str(padding)
        save_teacher(folder, family, padding=padding)
        found.append(embed(REPORTS, spec_of(folder, pooling="last"), tmp_path / "cache", device="cpu"))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)


def test_gemma3_is_found_under_both_names_that_its_weights_had(tmp_path: Path) -> None:
    for name in ("published", "other"):
        save_teacher(tmp_path / name, "gemma3")
    weights = load_file(tmp_path / "published" / WEIGHTS)
    inside = {name for name in weights if name.startswith("language_model.model.")}
    assert "language_model.model.layers.1.self_attn.k_norm.weight" in inside
    renamed = {
        "model." + (name.replace(".model.", ".", 1) if name in inside else name): weight
        for name, weight in weights.items()
    }
    save_file(renamed, tmp_path / "other" / WEIGHTS, metadata={"format": "pt"})
    found = [
        embed(REPORTS, spec_of(tmp_path / name), tmp_path / "cache", device="cpu") for name in ("published", "other")
    ]
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(("family", "room"), [("bert", 64), ("roberta", 60), ("llama", 64), ("t5", 512)])
def test_report_longer_than_the_model_is_cut_to_its_room(
    tmp_path: Path, family: str, room: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """RoBERTa's table of 64 places begins behind the padding token, which is the fourth here."""
    folder = tmp_path / "model"
    model = save_teacher(folder, family)
    long = " ".join(["murmur"] * 600)
    found = embed([long, "No murmur."], spec_of(folder), tmp_path / "cache", device="cpu")
    text_model = load(folder, spec_of(folder), "cpu")
    (tokens,) = text_model.tokenize([long])
    assert len(tokens.ids) == room
    assert (tokens.ids[0], tokens.ids[-1]) == (0, 1)
    assert f"were cut, the longest by {tokens.lost} tokens" in capsys.readouterr().err
    if family == "llama":
        short = " ".join(["murmur"] * (room - 2))
        np.testing.assert_allclose(found[:1], embed_alone(model, folder, [short], -1, "mean"), atol=1e-5)


def test_teacher_is_frozen(tmp_path: Path) -> None:
    save_teacher(tmp_path, "bert")
    model = load(tmp_path, spec_of(tmp_path), "cpu")._model
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_pooling_passes_over_padding_on_either_side() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [torch.nan]], [[torch.inf], [5.0], [7.0]]])
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    assert pool(hidden, mask, "mean").tolist() == [[2.0], [6.0]]
    assert pool(hidden, mask, "last").tolist() == [[3.0], [7.0]]
    assert pool(hidden.bfloat16(), mask, "last").dtype == torch.float32


def drop_weight(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def cut_off(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000])


def own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.Model"}})
    )
    (folder / "mine.py").write_text("raise SystemExit('code of the folder was run')")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def bad_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def bad_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (drop_weight, r"1 of its weights, layers\.1\.mlp\.up_proj\.weight among them, are missing or of another shape"),
        (
            other_shape,
            r"6 of its weights, layers\.0\.mlp\.down_proj\.weight among them, are missing or of another shape",
        ),
        (pickled, "has no weights as safetensors"),
        (cut_off, "cannot be loaded"),
        (own_code, "cannot be loaded .*contains custom code"),
        (no_tokenizer, "its tokenizer cannot be loaded"),
        (bad_tokenizer, "its tokenizer cannot be loaded"),
        (bad_config, "cannot be loaded"),
    ],
)
def test_model_that_is_not_whole_is_told_in_one_line(tmp_path: Path, spoil: Any, told: str) -> None:
    folder = tmp_path / "model"
    save_teacher(folder)
    spoil(folder)
    with pytest.raises(TeacherError, match=f"model: {told}") as caught:
        embed(REPORTS, spec_of(folder), tmp_path / "cache", device="cpu")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("cache/*/*.safetensors"))


@pytest.mark.parametrize("layer", [3, -4])
def test_layer_that_is_not_there_is_told_with_the_range(tmp_path: Path, layer: int) -> None:
    save_teacher(tmp_path / "model")
    with pytest.raises(TeacherError, match=rf"has no layer {layer}; its hidden states are 0 to 2, or -3 to -1"):
        embed(REPORTS, spec_of(tmp_path / "model", layer=layer), tmp_path / "cache", device="cpu")


def test_embedding_that_is_not_finite_is_refused_with_its_row(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_teacher(folder)
    weights = load_file(folder / WEIGHTS)
    (tokens,) = load(folder, spec_of(folder), "cpu").tokenize(["Q"])
    weights["model.embed_tokens.weight"][tokens.ids[1:-1]] = torch.nan
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(TeacherError, match="row 3: its embedding is not finite"):
        embed(["No murmur.", "No murmur.", "Cough.", "Q", "Q"], spec_of(folder), tmp_path / "cache", device="cpu")


def test_report_of_which_the_tokenizer_leaves_nothing_is_refused_with_its_row(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_teacher(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"String": "Q"}, "content": ""}
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    with pytest.raises(TeacherError, match="row 2: the teacher finds no token in this report"):
        embed(["Cough.", "Cough.", "Q"], spec_of(folder), tmp_path / "cache", device="cpu")


def test_failing_batch_is_told_and_costs_no_other(tmp_path: Path) -> None:
    """The model knows 300 pieces, the tokenizer 400; single letters are the first of them."""
    folder = tmp_path / "model"
    save_teacher(folder)
    weights = load_file(folder / WEIGHTS)
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:300].clone()
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 300}))
    with pytest.raises(TeacherError, match="model: index out of range in self; a smaller batch may help"):
        embed(["QZQZQZQZQZQZ", REPORTS[1]], spec_of(folder), tmp_path / "cache", batch_size=1, device="cpu")
    (kept,) = tmp_path.glob("cache/*/*.safetensors")
    embed(["QZQZQZQZQZQZ"], spec_of(folder), tmp_path / "cache", device="cpu")
    assert list(tmp_path.glob("cache/*/*.safetensors")) == [kept]


@pytest.mark.parametrize("device", ["toaster", "cuda:99"])
def test_device_that_is_not_there_is_told(tmp_path: Path, device: str) -> None:
    save_teacher(tmp_path / "model")
    with pytest.raises(TeacherError, match=f"device {device}: cannot be used"):
        embed(REPORTS, spec_of(tmp_path / "model"), tmp_path / "cache", device=device)
