"""Reports by a real server of OpenAI's protocol, and every way in which a server can fail."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import parquet

from align.report import report
from align.reports.config import ReportSettings
from align.reports.errors import WriterError
from align.reports.server import read_key
from align.reports.work import Counts
from tests.align.conftest import ROOT, run_report, write_table
from tests.completions import KEY, Completions


def write(table: Path, server: Completions, model: str, **changes: object) -> tuple[Counts, list[dict[str, object]]]:
    settings = {"recordings": table, "output": table.parent / "reports.parquet", "writer": "server", "model": model}
    counts, _ = report(ReportSettings.model_validate({**settings, "base_url": server.url, **changes}))
    return counts, parquet.read_table(table.parent / "reports.parquet").to_pylist()


def test_reports_are_the_servers_and_faithful(table: Path, server: Completions) -> None:
    before = server.requests("obedient")
    counts, rows = write(table, server, "obedient")
    assert server.requests("obedient") - before == len(rows) == counts.written == 6
    assert [row["path"] for row in rows] == [f"{number}.wav" for number in range(6)]
    assert {(row["writer"], row["model"], row["attempts"], row["fallback"]) for row in rows} == {
        ("server", "obedient", 1, False)
    }
    assert "murmur: absent" in str(rows[1]["report"])
    assert "murmur: unknown" in str(rows[2]["report"])


def test_hidden_label_is_not_told_to_the_server(table: Path, server: Completions) -> None:
    counts, rows = write(table, server, "obedient", hide=("murmur",))
    assert counts.fallbacks == 0
    assert not any(word in str(row["report"]) for row in rows for word in ("murmur", "systolic", "outcome"))
    assert "murmur" in str(rows[0]["hidden"]).split(",")


def test_report_that_tells_a_hidden_label_is_refused(table: Path, server: Completions) -> None:
    counts, rows = write(table, server, "leaky", hide=("murmur",))
    assert counts.fallbacks == 6
    assert counts.problems["hidden"] == 18
    assert not any("murmur" in str(row["report"]) for row in rows)


def test_refused_report_is_asked_for_again_with_what_was_wrong(table: Path, server: Completions) -> None:
    counts, rows = write(table, server, "penitent")
    assert (counts.refused, counts.fallbacks) == (6, 0)
    assert {row["attempts"] for row in rows} == {2}
    assert str(rows[0]["problems"]).startswith("foreign: follow, up, echocardiogram, recommended")


@pytest.mark.parametrize(("model", "problem"), [("liar", "foreign"), ("empty", "empty"), ("silent", "empty")])
def test_server_that_never_holds_the_check_is_replaced_and_counted(
    table: Path, server: Completions, model: str, problem: str
) -> None:
    before = server.requests(model)
    counts, rows = write(table, server, model, attempts=2)
    assert server.requests(model) - before == 12
    assert (counts.written, counts.refused, counts.fallbacks) == (6, 12, 6)
    assert counts.problems[problem] == 12
    assert {(row["writer"], row["model"], row["attempts"], row["fallback"]) for row in rows} == {
        ("template", model, 2, True)
    }


@pytest.mark.parametrize("model", ["busy", "broken"])
def test_limits_and_errors_that_pass_are_waited_for(table: Path, server: Completions, model: str) -> None:
    counts, _ = write(table, server, model)
    assert (counts.written, counts.fallbacks) == (6, 0)


def test_no_more_requests_at_a_time_than_asked_for(tmp_path: Path, server: Completions) -> None:
    with Completions(tmp_path) as alone:
        write(write_table(tmp_path, 12), alone, "unhurried", concurrency=3)
        assert alone.requests("most_together") == 3


def test_no_more_requests_a_minute_than_asked_for(table: Path, server: Completions) -> None:
    before = time.monotonic()
    write(table, server, "obedient", requests_per_minute=1200)
    # Six requests 50 ms apart: the first leaves at once. A lower bound holds on a busy machine, too.
    assert time.monotonic() - before >= 0.25


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("overrun", "too many requests (429), in 2 tries; set --requests_per_minute and run the same command again"),
        ("html", "answers, but with no chat completion; is this the address of the API?"),
        ("half", "answers, but with no chat completion; is this the address of the API?"),
        ("alien", "answers, but with no chat completion; is this the address of the API?"),
        ("slow", "no answer within 0.2 s in 2 tries; raise --timeout_s or lower --concurrency"),
        ("nobody", "knows no model nobody or is no API (404); see --model and --base_url"),
    ],
)
def test_server_that_cannot_be_used_ends_the_run(table: Path, server: Completions, model: str, message: str) -> None:
    with pytest.raises(WriterError) as caught:
        write(table, server, model, retries=1, timeout_s=0.2 if model == "slow" else 20)
    assert str(caught.value) == f"{server.url}: {message}"
    assert not (table.parent / "reports.parquet").exists()


def test_no_server_ends_the_run_in_one_line(table: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        flags = ["--writer=server", "--model=m", f"--base_url={url}", "--retries=1"]
        run = run_report(f"--recordings={table}", f"--output={table.parent / 'r.parquet'}", *flags)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1] == f"error: {url}: no server answers; start it, or name another --base_url"
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a/v1", ""])
def test_address_that_is_none_is_refused(table: Path, url: str) -> None:
    settings = {"recordings": table, "output": table.parent / "r.parquet", "writer": "server", "model": "m"}
    with pytest.raises(WriterError, match="no address; write http://host:port/v1"):
        report(ReportSettings.model_validate({**settings, "base_url": url}))


def test_wrong_key_ends_the_run_at_once_and_is_never_shown(table: Path, server: Completions) -> None:
    wrong = "sk-wrong-77aa"
    before = server.requests("obedient")
    flags = [f"--recordings={table}", f"--output={table.parent / 'r.parquet'}", "--writer=server", "--model=obedient"]
    run = run_report(*flags, f"--base_url={server.url}", "--concurrency=1", OPENAI_API_KEY=wrong)
    assert run.returncode == 2
    line = f"error: {server.url}: refuses the key (401); set the right one in the variable OPENAI_API_KEY"
    assert run.stderr.splitlines()[-1] == line
    assert server.requests("obedient") - before == 1
    written = "".join(path.read_text(errors="replace") for path in table.parent.iterdir())
    assert wrong not in run.stdout + run.stderr + written


def test_key_is_cut_out_of_what_a_server_says(
    table: Path, server: Completions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(WriterError, match=r"status 402: .*No credit left on \*\*\*") as caught:
        write(table, server, "unpayable")
    assert KEY not in str(caught.value)


def test_key_that_the_end_of_a_message_divides_is_cut_out(
    table: Path, server: Completions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(WriterError, match=r"status 402: .*\*\*\*") as caught:
        write(table, server, "talkative")
    assert KEY[:4] not in str(caught.value)


def test_key_comes_from_a_file_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(**changes: object) -> ReportSettings:
        return ReportSettings.model_validate({"recordings": tmp_path, "output": tmp_path, **changes})

    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    monkeypatch.setenv("ANOTHER_KEY", "sk-other")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert read_key(settings()) == ""
    assert read_key(settings(api_key_env="ANOTHER_KEY")) == "sk-other"
    assert read_key(settings(api_key_env="ANOTHER_KEY", api_key_file=path)) == KEY


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the key cannot be read \\(No such file or directory\\); name another --api_key_file"),
        (b"", "holds no key; write it there, alone"),
        (b"\xff\xfe", "the key cannot be read \\(not text\\)"),
        (b"OPENAI_API_KEY = sk-secret", "holds more than a key; write one word, alone$"),
    ],
)
def test_key_file_that_holds_none_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    settings = {"recordings": tmp_path, "output": tmp_path, "api_key_file": path}
    with pytest.raises(WriterError, match=f"key: {message}") as caught:
        read_key(ReportSettings.model_validate(settings))
    assert "secret" not in str(caught.value)


def test_killed_run_asks_for_no_finished_report_again(tmp_path: Path, server: Completions) -> None:
    table, output = write_table(tmp_path, 40), tmp_path / "reports.parquet"
    journal = tmp_path / "reports.parquet.journal"
    flags = [f"--recordings={table}", f"--output={output}", "--writer=server", "--model=unhurried", "--concurrency=2"]
    before = server.requests("unhurried")
    command = [sys.executable, "-m", "align.report", *flags, f"--base_url={server.url}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = [json.loads(line) for line in journal.read_bytes().splitlines(keepends=True)[1:] if line.endswith(b"\n")]
    assert 5 <= len(kept) < 40
    run = run_report(*flags, f"--base_url={server.url}")
    assert run.returncode == 0, run.stderr
    assert f"({40 - len(kept)} written, {len(kept)} kept)" in run.stdout
    # At most the two requests that were under way are asked again.
    assert 40 <= server.requests("unhurried") - before <= 42
    rows = {row["path"]: row["report"] for row in parquet.read_table(output).to_pylist()}
    assert len(rows) == 40
    assert all(rows[row["path"]] == row["report"] for row in kept)
    assert not journal.exists()


def test_run_that_a_server_ends_goes_on_with_another(table: Path, server: Completions) -> None:
    """The address is no setting of the reports: a server may move."""
    with pytest.raises(WriterError):
        write(table, server, "obedient", base_url="http://127.0.0.1:9/v1", retries=0)
    counts, rows = write(table, server, "obedient")
    assert counts.written == len(rows) == 6
