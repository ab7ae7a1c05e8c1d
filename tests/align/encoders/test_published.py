"""What is wrong with a published model is told in one line."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from align.encoders import EncoderError, EncoderSpec, build_encoder
from align.encoders.published import load
from tests.audio_models import SHORT, TINY, save


@pytest.fixture
def ast(tmp_path: Path) -> Path:
    return save(TINY["ast"], tmp_path / "ast")


def problem(checkpoint: str | Path, clip_s: float = 0.9) -> str:
    with pytest.raises(EncoderError) as caught:
        build_encoder(EncoderSpec(name="transformers", checkpoint=str(checkpoint), clip_s=clip_s))
    line = str(caught.value)
    assert "\n" not in line
    assert str(checkpoint) in line
    return line


def change(file: Path, **settings: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def test_a_folder_is_loaded_without_network_and_without_a_word(
    ast: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("looked at the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    capfd.readouterr()
    build_encoder(EncoderSpec(name="transformers", checkpoint=str(ast), clip_s=0.9))
    assert capfd.readouterr() == ("", "")


def test_weights_are_those_of_the_folder_in_single_precision(tmp_path: Path) -> None:
    tiny = TINY["wav2vec2"]
    folder = save(tiny, tmp_path / "half")
    saved = load_file(folder / "model.safetensors")
    save_file({name: weight.half() for name, weight in saved.items()}, folder / "model.safetensors", {"format": "pt"})
    change(folder / "config.json", dtype="float16")
    loaded = load(str(folder)).model.state_dict()
    for name in ("encoder.layers.1.attention.q_proj.weight", "feature_extractor.conv_layers.3.conv.weight"):
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], saved[f"wav2vec2.{name}"], atol=1e-3, rtol=1e-3)


def test_only_the_encoder_is_kept(tmp_path: Path) -> None:
    names = {name for name, _ in load(str(save(TINY["whisper"], tmp_path / "w"))).model.named_parameters()}
    assert names
    assert not any("decoder" in name for name in names)


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ("/nowhere/ast", "no such folder"),
        ("./nowhere", "no such folder"),
        ("models/of/mine", "no such folder"),
        ("", "needs its checkpoint"),
    ],
)
def test_a_folder_that_is_not_there(checkpoint: str, words: str) -> None:
    assert words in problem(checkpoint)


def test_a_file_in_place_of_a_folder(ast: Path) -> None:
    assert "is a file" in problem(ast / "model.safetensors")


def test_a_model_that_is_no_audio_encoder(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**SHORT, vocab_size=64)).save_pretrained(tmp_path)
    assert "bert is no audio encoder" in problem(tmp_path)


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def settings(name: str, **changes: object) -> Callable[[Path], None]:
    return lambda folder: change(folder / name, **changes)


def as_pickle(folder: Path) -> None:
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def lose(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in sorted(weights) if "layer.1" in name and name.endswith("query.weight"))
    del weights[lost]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (drop("config.json"), "no model in this folder"),
        (drop("model.safetensors"), "no weights in this folder"),
        (as_pickle, "no other format is read"),
        (write("config.json", "{"), "not a valid JSON"),
        (write("config.json", '{"auto_map": {"AutoConfig": "a.B"}, "model_type": "mine"}'), "custom code"),
        (settings("config.json", hidden_size="big"), "hidden_size"),
        (settings("config.json", num_hidden_layers=3), r"weights lack layers\.2\.\S+ and 15 more"),
        (settings("config.json", hidden_size=32), r"cls_token|\S+ is \(.*\) in the weights and \(.*\) by config"),
        (cut, "weights cannot be loaded"),
        (write("model.safetensors", ""), "weights cannot be loaded"),
        (lose, r"weights lack layers\.1\.attention\.q_proj\.weight;"),
        (drop("preprocessor_config.json"), "no preprocessor_config.json"),
        (write("preprocessor_config.json", "{"), "no preprocessor_config.json that can be read"),
        (settings("preprocessor_config.json", num_mel_bins=64), "num_mel_bins is 32 .* 64"),
        (settings("preprocessor_config.json", feature_extractor_type="WhisperFeatureExtractor"), "of Whisper"),
    ],
)
def test_a_folder_with_a_fault(harm: Callable[[Path], object], words: str, ast: Path) -> None:
    harm(ast)
    assert re.search(words, problem(ast))


@pytest.mark.parametrize(
    ("name", "clip_s", "words"),
    [
        ("ast", 1.5, "at most 1.28 s"),
        ("ast", 0.2, "needs 0.3 s or more"),
        ("whisper", 2.1, "at most 2 s"),
        ("clap", 2.1, "at most 2 s"),
        ("clap", 0.1, "needs 0.19 s or more"),
        ("wav2vec2", 0.05, "needs 0.06 s or more"),
    ],
)
def test_a_clip_of_a_length_that_the_model_cannot_hear(name: str, clip_s: float, words: str, tmp_path: Path) -> None:
    assert words in problem(save(TINY[name], tmp_path / name), clip_s)


@pytest.mark.parametrize(("name", "clip_s"), [("ast", 0.3), ("clap", 0.19), ("whisper", 0.06), ("wav2vec2", 0.06)])
def test_the_shortest_clip_that_is_allowed_can_be_learnt_from(name: str, clip_s: float, tmp_path: Path) -> None:
    checkpoint = str(save(TINY[name], tmp_path / name))
    encoder = build_encoder(EncoderSpec(name="transformers", checkpoint=checkpoint, clip_s=clip_s))
    features = encoder.transform(torch.randn(2, encoder.clip_samples))
    assert torch.isfinite(encoder.self_supervised_loss(features, torch.arange(2)))


@pytest.mark.parametrize(("name", "clip_s"), [("ast", 1.28), ("clap", 2.0), ("clap-fused", 2.0), ("whisper", 2.0)])
def test_the_longest_clip_fills_the_input(name: str, clip_s: float, tmp_path: Path) -> None:
    checkpoint = str(save(TINY[name], tmp_path / name))
    encoder = build_encoder(EncoderSpec(name="transformers", checkpoint=checkpoint, clip_s=clip_s)).eval()
    frames = encoder(encoder.transform(torch.randn(1, encoder.clip_samples))).frames
    # Kaldi's frames need their whole window: the last of AST's patches would reach 2 frames too far.
    assert frames.shape[1] == {"ast": 12, "clap": 32, "clap-fused": 32, "whisper": 100}[name]
