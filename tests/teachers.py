"""Text models of a few thousand random weights, as folders on disk, and what they make of a text alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

REPORTS = [
    "A systolic murmur is heard at the apex.",
    "No murmur.",
    "Coarse crackles on both sides, more on the right, and a wheeze while breathing out; the cough is wet.",
    "Cough.",
    "Breathing is vesicular, without crackles or wheezes.",
]
SIZES = {"vocab_size": 400, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "max_position_embeddings": 64}
SMALL: dict[str, Any] = {**SIZES, **HEADS, "pad_token_id": 3, "bos_token_id": 0, "eos_token_id": 1}
T5: dict[str, Any] = {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
BART: dict[str, Any] = {"vocab_size": 400, "d_model": 16, "max_position_embeddings": 64, "pad_token_id": 3} | {
    f"{side}_{name}": number
    for side in ("encoder", "decoder")
    for name, number in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))
}
GEMMA: dict[str, Any] = {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 8}
SIGHT: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}


def _gemma3() -> Any:
    config = transformers.Gemma3Config(text_config=GEMMA, vision_config=SIGHT, mm_tokens_per_image=4)
    return transformers.Gemma3ForConditionalGeneration(config)


FAMILIES: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SMALL)),
    "roberta": lambda: transformers.RobertaForMaskedLM(transformers.RobertaConfig(**SMALL)),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)),
    "gemma3-text": lambda: transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**GEMMA)),
    "gemma3": _gemma3,
    "t5": lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**T5, pad_token_id=3)),
    "t5-encoder": lambda: transformers.T5EncoderModel(transformers.T5Config(**T5, pad_token_id=3)),
    "bart": lambda: transformers.BartForConditionalGeneration(transformers.BartConfig(**BART)),
}
"""Each as its users publish it: with the head that it was trained with."""


def save_teacher(folder: Path, family: str = "llama", *, seed: int = 0, padding: str | None = None) -> Any:
    """Save a model and its tokenizer, and return the model.

    Args:
        folder: made if need be.
        family: one of FAMILIES.
        seed: of the weights.
        padding: the side on which the tokenizer would pad; without one it has no padding token at all.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    special = ["<s>", "</s>", "<mask>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(REPORTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.add_special_tokens({"bos_token": special[0], "eos_token": special[1]})
    if padding:
        fast.add_special_tokens({"pad_token": special[3]})
        fast.padding_side = padding
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    model = FAMILIES[family]().eval()
    model.save_pretrained(folder)
    return model


def embed_alone(model: Any, folder: Path, texts: Sequence[str], layer: int, pooling: str) -> NDArray[np.float32]:
    """(texts, width), by the model's own class, text by text, so that nothing is ever padded."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if isinstance(model, (transformers.T5ForConditionalGeneration, transformers.BartForConditionalGeneration)):
        model = model.get_encoder()
    vectors = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[layer][0]
        vectors.append((hidden.mean(0) if pooling == "mean" else hidden[-1]).numpy())
    return np.stack(vectors)
