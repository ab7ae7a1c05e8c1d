"""Reports by any server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, OpenAI itself.

The client of the package `openai` retries what may pass (no connection, time-outs, 408, 409, 429, 5xx), as long as the
server asks and longer each time. What does not pass ends the run with one line: a report by template in place of one
that a better key or a running server would have written is not what was asked for. The key is in no message.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from align.reports.config import ReportSettings
from align.reports.errors import WriterError
from align.reports.prompt import Ask, messages, prompt_hash

LONGEST_ANSWER = 200
"""Characters of what a server says that an error message repeats."""
NO_KEY = "none"
"""Sent where no key is set: servers of one's own ask for none, but the client insists on one."""


class ServerWriter:
    """Asks a server for reports."""

    name = "server"
    paid = True

    def __init__(self, settings: ReportSettings) -> None:
        """Read the key and make a client; connect to nothing yet.

        Raises:
            WriterError: the key's file cannot be read or holds no key, or the address is none.
        """
        import openai

        if not settings.base_url.startswith(("http://", "https://")):
            raise WriterError(f"--base_url {settings.base_url}: no address; write http://host:port/v1")
        self.model = settings.model
        self.prompt_hash = prompt_hash()
        self.attempts = settings.attempts
        self.concurrency = settings.concurrency
        self._settings = settings
        self._key = read_key(settings)
        self._pace = Pace(settings.requests_per_minute)
        # The pace is kept where requests leave, so that the client's own repeats keep it too.
        transport = openai.DefaultAsyncHttpxClient(event_hooks={"request": [self._pace.wait]})
        self._client = openai.AsyncOpenAI(
            api_key=self._key or NO_KEY,
            base_url=settings.base_url,
            timeout=settings.timeout_s,
            max_retries=settings.retries,
            http_client=transport,
        )

    async def write(self, ask: Ask) -> str:
        """The server's answer.

        Raises:
            WriterError: the server cannot be reached, refuses, or answers what is no chat completion, and went on so.
        """
        for repeat in range(self._settings.retries + 1):
            answer = _content(await self._complete(ask))
            if answer is not None:
                return answer
            await asyncio.sleep(min(0.5 * 2**repeat, 8.0))
        raise WriterError(
            f"{self._settings.base_url}: answers, but with no chat completion; is this the address of the API?"
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _complete(self, ask: Ask) -> object:
        import openai

        settings = self._settings
        conversation: Any = messages(ask)
        try:
            return await self._client.chat.completions.create(
                model=self.model,
                messages=conversation,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seed=ask.seed(settings.seed),
            )
        except openai.APIResponseValidationError:
            return None
        except openai.APIError as error:
            raise WriterError(self._one_line(error)) from None
        except ValueError:
            # Announced as JSON, and none.
            return None

    def _one_line(self, error: Exception) -> str:
        import openai

        settings, url = self._settings, self._settings.base_url
        tries = f"{settings.retries + 1} tries"
        if isinstance(error, openai.APITimeoutError):
            return (
                f"{url}: no answer within {settings.timeout_s:g} s in {tries}; raise --timeout_s or lower --concurrency"
            )
        if isinstance(error, openai.APIConnectionError):
            return f"{url}: no server answers; start it, or name another --base_url"
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            # Nothing of what the server says: some repeat the key.
            where = settings.api_key_file or f"the variable {settings.api_key_env}"
            return f"{url}: refuses the key ({error.status_code}); set the right one in {where}"
        if isinstance(error, openai.RateLimitError):
            return (
                f"{url}: too many requests (429), in {tries}; set --requests_per_minute and run the same command again"
            )
        if isinstance(error, openai.NotFoundError):
            return f"{url}: knows no model {self.model} or is no API (404); see --model and --base_url"
        status = getattr(error, "status_code", "")
        return f"{url}: status {status}: {self._without_key(str(error))}"

    def _without_key(self, text: str) -> str:
        line = " ".join(text.split())
        # Replaced before the line is cut: a key that the cut divides would no longer be found.
        return (line.replace(self._key, "***") if self._key else line)[:LONGEST_ANSWER]


class Pace:
    """Lets requests leave evenly, at most so many a minute."""

    def __init__(self, per_minute: float) -> None:
        """0 is as fast as they come."""
        self._interval_s = 60.0 / per_minute if per_minute else 0.0
        self._next_s = 0.0

    async def wait(self, _request: object = None) -> None:
        """Wait for one's turn."""
        now = time.monotonic()
        turn = max(now, self._next_s)
        self._next_s = turn + self._interval_s
        if turn > now:
            await asyncio.sleep(turn - now)


def read_key(settings: ReportSettings) -> str:
    """The key of the server, from its file or from the environment; empty where none is set.

    Raises:
        WriterError: the file cannot be read, or what is there cannot be a key. The message holds nothing of it.
    """
    path = settings.api_key_file
    if path is None:
        key, where = os.environ.get(settings.api_key_env, "").strip(), f"the variable {settings.api_key_env}"
    else:
        where = str(path)
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise WriterError(f"{path}: the key cannot be read ({reason}); name another --api_key_file") from error
        if not key:
            raise WriterError(f"{path}: holds no key; write it there, alone")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise WriterError(f"{where}: holds more than a key; write one word, alone")
    return key


def _content(completion: object) -> str | None:
    """The text of a chat completion; None if it is none."""
    try:
        message = completion.choices[0].message  # type: ignore[attr-defined]
        content = message.content
    except (AttributeError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else "" if content is None else None
