"""Tables of metadata, and a server that writes reports, for the tests of reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aligning import Aligned, corpus_of, settings_of
from tests.completions import Completions

ROOT = Path(__file__).parents[2]
HEADER = (
    "path,corpus,group,split,modality,event,murmur,murmur_here,murmur_locations,systolic_timing,outcome,site,sex,age"
)


def write_table(folder: Path, count: int = 6) -> Path:
    """A table of `count` children, with and without a murmur, and one whose murmur is unknown."""
    kinds = [
        "heart,heart,Present,1.0,AV+MV,Holosystolic,Abnormal,MV,Female,Child",
        "heart,heart,Absent,0.0,,,Normal,PV,Male,Infant",
        "heart,heart,Unknown,0.0,,,Abnormal,AV,Female,",
    ]
    folder.mkdir(exist_ok=True)
    lines = [HEADER]
    for number in range(count):
        (folder / f"{number}.wav").touch()
        lines.append(f"{number}.wav,tiny,child-{number},train,{kinds[number % 3]}")
    table = folder / "recordings.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of six children."""
    return write_table(tmp_path)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Completions]:
    """A server of the protocol of OpenAI in a process of its own."""
    with Completions(tmp_path_factory.mktemp("completions")) as running:
        yield running


@pytest.fixture(scope="session")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Aligned:
    """A training of three epochs on a synthesised corpus of sixty people; tests leave it as it is."""
    from align.training import train

    place = corpus_of(tmp_path_factory.mktemp("aligned"))
    train(settings_of(place))
    return place


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers of random weights, and a tokenizer of a few hundred pieces."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    special = ["<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [HEADER], trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.add_special_tokens({"bos_token": special[0], "eos_token": special[1]})
    fast.chat_template = "{% for message in messages %}{{ message.content }}\n\n{% endfor %}"
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def run_report(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m align.report` as a process."""
    variables = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"} | environment
    command = [sys.executable, "-m", "align.report", *flags]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """More threads than cores wait for each other, and the nets are tiny."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
