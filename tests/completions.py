"""A server that speaks OpenAI's protocol, as a process of its own, for tests: `python -m tests.completions PORT_FILE`.

What it does is chosen by the model that is asked for; `MODELS` says how each behaves. `GET /requests` tells how many
requests each model got. It takes the key `KEY` or, as servers of one's own do, `none`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

ROOT = Path(__file__).parents[1]
KEY = "sk-test-4b1d9e7a"
MODELS = {
    "obedient": "says the facts that it is given",
    "unhurried": "the same, after 50 ms",
    "penitent": "lies first, and says the facts when told that it lied",
    "liar": "always adds advice",
    "leaky": "says the facts, and always something about a murmur",
    "empty": "answers with an empty text",
    "silent": "answers without a text",
    "busy": "refuses the first two requests with 429",
    "overrun": "refuses every request with 429",
    "broken": "answers with 500 once in three",
    "slow": "takes 30 s",
    "html": "answers with a page of HTML",
    "half": "answers with half of a JSON text",
    "alien": "answers with JSON of another protocol",
    "unpayable": "answers with 402 and repeats the key in its message",
    "talkative": "the same, many times over",
}
requests: Counter[str] = Counter()
together = 0
most_together = 0


def facts_of(messages: list[dict[str, str]]) -> str:
    """The facts of the prompt as one sentence."""
    prompt = next(message["content"] for message in messages if message["role"] == "user")
    facts = [line.removeprefix("- ") for line in prompt.splitlines() if line.startswith("- ")]
    return "; ".join(fact for fact in facts if fact.partition(":")[0].islower() or ":" in fact).capitalize() + "."


def completion(model: str, text: str | None) -> Response:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return JSONResponse(
        {"id": "c-1", "object": "chat.completion", "created": int(time.time()), "model": model, "choices": [choice]}
    )


def failure(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "test"}}, status, {"retry-after-ms": "20"})


async def complete(request: Request) -> Response:
    global together, most_together
    together += 1
    most_together = max(most_together, together)
    try:
        return await answer(await request.json(), request.headers["authorization"].removeprefix("Bearer "))
    finally:
        together -= 1


async def answer(body: dict[str, Any], key: str) -> Response:
    model = body["model"]
    requests[model] += 1
    count = requests[model]
    if key not in (KEY, "none"):
        return failure(401, f"Incorrect API key provided: {key}")
    if model not in MODELS:
        return failure(404, f"The model {model} does not exist")
    if model == "unpayable":
        return failure(402, f"No credit left on {key}")
    if model == "talkative":
        return failure(402, "No credit left on " + " ".join([key] * 100))
    if model == "overrun" or (model == "busy" and count <= 2):
        return failure(429, "Rate limit reached")
    if model == "broken" and count % 3 == 1:
        return failure(500, "The server had an error")
    if model == "html":
        return HTMLResponse("<html>Welcome to the router</html>")
    if model == "half":
        return Response('{"choices": [{"mess', media_type="application/json")
    if model == "alien":
        return JSONResponse({"result": ["nothing", "known"]})
    await asyncio.sleep({"slow": 30.0, "unhurried": 0.05}.get(model, 0.0))
    if model in ("empty", "silent"):
        return completion(model, "" if model == "empty" else None)
    told = facts_of(body["messages"])
    refused = body["messages"][-1]["content"].startswith("That report was refused")
    if model == "liar" or (model == "penitent" and not refused):
        told += " Follow-up with an echocardiogram is recommended."
    if model == "leaky":
        told += " No murmur is heard."
    return completion(model, told)


async def count_requests(_request: Request) -> Response:
    return JSONResponse({**requests, "most_together": most_together})


class Completions:
    """The server; a context manager that leaves no process behind."""

    def __init__(self, folder: Path) -> None:
        """Start it and wait until it listens."""
        self._port_file = folder / "port"
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.completions", str(self._port_file)],
            cwd=ROOT,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 60
        while not self._port_file.exists() and self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{self._port_file.read_text()}/v1"

    def requests(self, model: str) -> int:
        """How many requests a model got."""
        with urllib.request.urlopen(self.url.replace("/v1", "/requests"), timeout=10) as reply:  # noqa: S310
            return int(json.load(reply).get(model, 0))

    def __enter__(self) -> Completions:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


class Announcing(uvicorn.Server):
    """Writes its port into a file once it listens."""

    def __init__(self, config: uvicorn.Config, port_file: Path) -> None:
        super().__init__(config)
        self._port_file = port_file

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        part = self._port_file.with_suffix(".part")
        part.write_text(str(self.servers[0].sockets[0].getsockname()[1]))
        part.rename(self._port_file)


if __name__ == "__main__":
    routes = [Route("/v1/chat/completions", complete, methods=["POST"]), Route("/requests", count_requests)]
    Announcing(uvicorn.Config(Starlette(routes=routes), port=0, log_level="warning"), Path(sys.argv[1])).run()
