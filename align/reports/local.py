"""Reports by a language model on this machine, through transformers.

A folder or a name on the hub; bfloat16 on a GPU, float32 on a CPU. Reports are written in batches. Sampling draws from
a generator of each report's own, so that a report does not depend on its neighbours in the batch (but for rounding,
which padding can change: exact repetition is for a batch of one).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from align.reports.config import ReportSettings
from align.reports.errors import WriterError
from align.reports.prompt import Ask, Messages, messages, prompt_hash
from edge.errors import first_line

if TYPE_CHECKING:
    import torch


class LocalWriter:
    """Writes with a model of transformers, which is loaded when the first report is asked for."""

    name = "local"
    paid = True

    def __init__(self, settings: ReportSettings) -> None:
        """Load nothing yet."""
        self.model = settings.model
        self.prompt_hash = prompt_hash()
        self.attempts = settings.attempts
        # While a batch is written, the next one gathers.
        self.concurrency = 2 * settings.batch
        self._settings = settings
        self._lock = asyncio.Lock()
        self._waiting: list[tuple[Ask, asyncio.Future[str]]] = []
        self._loaded: tuple[Any, Any] | None = None

    async def write(self, ask: Ask) -> str:
        """The model's text.

        Raises:
            WriterError: the model cannot be loaded, or does not fit.
        """
        text: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, text))
        await asyncio.sleep(0)
        # Both the lock and the list are first come, first served: who holds the lock finds itself in the batch.
        async with self._lock:
            if not text.done():
                batch = self._waiting[: self._settings.batch]
                del self._waiting[: len(batch)]
                texts = await asyncio.to_thread(self._generate, [ask for ask, _ in batch])
                for (_, other), written in zip(batch, texts, strict=True):
                    other.set_result(written)
        return await text

    async def close(self) -> None:
        """Let go of the model."""
        self._loaded = None

    def _generate(self, asks: list[Ask]) -> list[str]:
        import torch
        from transformers import LogitsProcessorList

        if self._loaded is None:
            self._loaded = load(self.model)
        model, tokenizer = self._loaded
        prompts = [as_text(tokenizer, messages(ask)) for ask in asks]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        length = inputs["input_ids"].shape[1]
        room = getattr(model.config, "max_position_embeddings", None)
        if room is not None and length + self._settings.max_tokens > room:
            raise WriterError(f"{self.model}: has room for {room} tokens, a prompt needs {length}; lower --max_tokens")
        seeds = [ask.seed(self._settings.seed) for ask in asks]
        draw = LogitsProcessorList([Draw(seeds, self._settings.temperature)] if self._settings.temperature else [])
        try:
            with torch.inference_mode():
                tokens = model.generate(
                    **inputs,
                    logits_processor=draw,
                    do_sample=False,
                    max_new_tokens=self._settings.max_tokens,
                    pad_token_id=tokenizer.pad_token_id,
                )
        except (RuntimeError, IndexError) as error:
            raise WriterError(f"{self.model}: {first_line(error)}; a smaller --batch may help") from error
        return [str(text).strip() for text in tokenizer.batch_decode(tokens[:, length:], skip_special_tokens=True)]


class Draw:
    """Turns the choice of the most probable token into sampling: the Gumbel-max trick, one generator a row."""

    def __init__(self, seeds: list[int], temperature: float) -> None:
        """Take one seed for each row of the batch."""
        self._seeds = seeds
        self._temperature = temperature
        self._generators: list[torch.Generator] = []

    def __call__(self, _tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Add Gumbel noise to (rows, tokens) scores."""
        import torch

        if not self._generators:
            self._generators = [torch.Generator(scores.device).manual_seed(seed) for seed in self._seeds]
        uniform = torch.stack(
            [torch.rand(scores.shape[1], generator=generator, device=scores.device) for generator in self._generators]
        )
        # rand gives 0 now and then, whose logarithm is not finite.
        return scores.float() / self._temperature - torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))


def load(name: str) -> tuple[Any, Any]:
    """The model and its tokenizer.

    Raises:
        WriterError: there is no such model, or it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    on_gpu = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left")
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16 if on_gpu else torch.float32)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return model.to("cuda" if on_gpu else "cpu").eval(), tokenizer
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise WriterError(f"--model {name}: cannot be loaded ({first_line(error)})") from error


def as_text(tokenizer: Any, conversation: Messages) -> str:
    """A conversation as the model knows it: by its chat template, or as plain paragraphs."""
    if tokenizer.chat_template:
        return str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True))
    return "\n\n".join(part["content"] for part in conversation) + "\n\n"
