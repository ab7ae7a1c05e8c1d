"""A frozen text model of transformers: text to tokens, batches of tokens to one vector a text.

Does: finds the part of a model that reads text, sees that all its weights came from the files, and pools hidden states
so that padding never counts. Does not: choose batches, or keep anything. Tokens are padded here, on the right, whatever
the tokenizer would do, so that one without a padding token does as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as chatter

from align.teacher.errors import TeacherError
from align.teacher.spec import Pooling, TeacherSpec
from edge.errors import first_line

TEXTS_AT_ONCE = 1000
"""Texts that are tokenised at once; it bounds the memory."""


class Tokens(NamedTuple):
    """A text as the model reads it."""

    ids: list[int]
    lost: int
    """Tokens that were cut off."""


class TextModel:
    """A model that is never trained, and its tokenizer."""

    def __init__(self, name: str, model: nn.Module, tokenizer: Any, spec: TeacherSpec) -> None:
        """Take a model that is loaded, on the device where it is.

        Args:
            name: for messages.
            model: its text part: tokens and mask to hidden states.
            tokenizer: of transformers.
            spec: layer, pooling and length.

        Raises:
            TeacherError: it has no such layer.
        """
        self._name = name
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._spec = spec
        self._device = next(model.parameters()).device
        self.max_tokens = min(spec.max_tokens, tokenizer.model_max_length, _positions(model))
        states = len(self._hidden_states(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.long)))
        if not -states <= spec.layer < states:
            raise TeacherError(
                f"{name}: has no layer {spec.layer}; its hidden states are 0 to {states - 1}, or -{states} to -1"
            )

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of texts, with those that the model adds at either end, cut to its length."""
        tokens: list[Tokens] = []
        with tqdm(total=len(texts), desc="tokenise", unit="report", delay=2, leave=False) as bar:
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                some = list(texts[start : start + TEXTS_AT_ONCE])
                tokens += [
                    Tokens(ids, 0) if len(ids) <= self.max_tokens else self._cut(text, len(ids))
                    for text, ids in zip(some, self._ids(some, truncation=False), strict=True)
                ]
                bar.update(len(some))
        return tokens

    def embed(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
        """One vector for each list of tokens, (len(batch), width).

        Raises:
            TeacherError: the batch does not fit, or the model fails on it.
        """
        padding = self._tokenizer.pad_token_id or 0
        ids = pad_sequence([torch.tensor(row) for row in batch], batch_first=True, padding_value=padding)
        mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in batch], batch_first=True)
        try:
            hidden = self._hidden_states(ids, mask)[self._spec.layer]
            vectors: NDArray[np.float32] = pool(hidden, mask.to(self._device), self._spec.pooling).cpu().numpy()
        except (RuntimeError, IndexError) as error:
            raise TeacherError(f"{self._name}: {first_line(error)}; a smaller batch may help") from error
        return vectors

    def _cut(self, text: str, length: int) -> Tokens:
        """The tokenizer cuts by itself, since some tokens at the end belong to the model and not to the text."""
        ids = self._ids([text], truncation=True, max_length=self.max_tokens)[0]
        return Tokens(ids, length - len(ids))

    def _ids(self, texts: list[str], **options: Any) -> list[list[int]]:
        encoded = self._tokenizer(texts, padding=False, return_attention_mask=False, verbose=False, **options)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _hidden_states(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            states: tuple[Tensor, ...] = self._model(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                output_hidden_states=True,
                return_dict=True,
            ).hidden_states
        return states


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One float32 vector a text, whichever side the padding is on.

    Args:
        hidden: (texts, tokens, width), of any kind of float.
        mask: (texts, tokens), 1 for tokens and 0 for padding; at least one token a text.
        pooling: mean over the tokens, or the last of them.

    Returns:
        (texts, width).
    """
    if pooling == "last":
        last = mask.cumsum(1).argmax(1)
        return hidden[torch.arange(len(hidden), device=hidden.device), last].float()
    # Filled, not multiplied: what a model computes for padding may be NaN.
    total = hidden.float().masked_fill(mask.unsqueeze(-1) == 0, 0.0).sum(1)
    return total / mask.sum(1, keepdim=True)


def load(folder: Path, spec: TeacherSpec, device: str) -> TextModel:
    """Load the text part of a model from its folder.

    Raises:
        TeacherError: there is no such device, the files are incomplete, damaged, pickled or need code of their own, or
            the model has no such layer.
    """
    place = _device(device)
    if not any(folder.glob("*.safetensors")):
        raise TeacherError(f"{spec.model}: has no weights as safetensors, and no others are read; convert it first")
    with _loading(spec.model):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with _loading(spec.model, "its tokenizer "):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, truncation_side="right")
    with _loading(spec.model):
        whole, report = AutoModel.from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.bfloat16 if place.type == "cuda" else torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    # Where both are there, the encoder reads and the decoder writes. Where they are not, the second is the language
    # model inside a model that also sees or hears, or the model itself.
    both = hasattr(whole, "encoder") and hasattr(whole, "decoder")
    part = whole.get_encoder() if both else whole.get_decoder()
    _refuse_random(spec.model, whole, part, {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    # Of no use here, and it would take memory by the token.
    part.config.use_cache = False
    with _loading(spec.model):
        return TextModel(spec.model, part.to(place), tokenizer, spec)


def _device(device: str) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise TeacherError(
            f"device {device}: cannot be used ({first_line(error)}); auto takes what there is"
        ) from error


@contextmanager
def _loading(name: str, part: str = "") -> Iterator[None]:
    """Tell in one line what transformers raises, which may be anything, and silence what it says besides."""
    before = chatter.get_verbosity()
    chatter.set_verbosity(logging.ERROR)
    try:
        yield
    except TeacherError:
        raise
    except Exception as error:
        raise TeacherError(f"{name}: {part}cannot be loaded ({first_line(error)})") from error
    finally:
        chatter.set_verbosity(before)


def _refuse_random(name: str, whole: nn.Module, part: nn.Module, absent: set[str]) -> None:
    """Refuse a text part with weights that the files lack or have in another shape: they would be left random."""
    used = {id(parameter) for parameter in part.parameters()}
    # Many checkpoints have no pooler, and no hidden state depends on it.
    random = sorted(
        key for key, weight in whole.named_parameters() if key in absent and id(weight) in used and "pooler" not in key
    )
    if random:
        raise TeacherError(
            f"{name}: {len(random)} of its weights, {random[0]} among them, are missing or of another shape than in "
            "config.json"
        )


def _positions(model: nn.Module) -> int:
    """How many tokens a model can tell the places of."""
    positions: int | None = getattr(model.config, "max_position_embeddings", None)
    if positions is None:
        return 1 << 30
    # RoBERTa and its kin count the places of tokens from behind that of padding.
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    behind = [
        table.padding_idx + 1 for table in tables if isinstance(table, nn.Embedding) and table.padding_idx is not None
    ]
    return positions - max(behind, default=0)
