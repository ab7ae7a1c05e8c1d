"""Reports on disk: a journal while they are written, one Parquet file when they are done.

Each finished report is a line of the journal beside the output. One that cost something is on the disk before its
worker asks for the next, and is not asked for again while the same is known of its recording; those that cost nothing
are put there by the thousand. A kill loses what is under way: answers that have not arrived, and the refused tries of
reports that are not finished, which nothing keeps. At the end, journal and earlier Parquet become one Parquet file,
which replaces the earlier one in one step. The first line of the journal, and the metadata of the file, hold the
settings: reports of other settings are never mixed in. One process at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from align.corpora import Recording
from align.files import writing_whole
from align.reports.errors import ReportError
from edge.errors import first_line

METADATA = b"acula_reports"
LINES_A_COMMIT = 1000
"""Reports that cost nothing are committed by the thousand: flushing each would take longer than writing them."""


@dataclass(frozen=True)
class Report:
    """A finished report: a row of the file."""

    path: str
    """Relative to the table."""
    corpus: str
    group: str
    split: str
    report: str
    writer: str
    """Who wrote the text; `template` where a model's tries were refused."""
    model: str
    """The model that was asked."""
    prompt_hash: str
    seed: int
    hidden: str
    """The facts about which the report is silent on purpose, joined by commas."""
    attempts: int
    """Tries of the writer, refused ones included."""
    fallback: bool
    """Whether the template took over."""
    problems: str
    """What was wrong with the last refused try."""
    digest: str
    """Hash of what was known; a report is written again if that changes."""


class ReportStore:
    """The reports of one output file; a context manager that holds its journal."""

    def __init__(self, output: Path, settings: Mapping[str, object]) -> None:
        """Open or resume.

        Raises:
            ReportError: it cannot be written or read, is in use, or holds reports of other settings.
        """
        if not output.name or output.is_dir():
            raise ReportError(f"{output}: is a folder; name a file for --output, such as reports.parquet")
        self.output = output
        self.journal = output.with_name(output.name + ".journal")
        self.reports: dict[str, Report] = {}
        self._header = json.dumps({"version": 1, "settings": settings}, sort_keys=True)
        self._pending: list[bytes] = []
        self._unsaved = 0
        self._saved: list[Report] | None = None
        self._descriptor = self._lock()
        try:
            self._read_parquet()
            self._read_journal()
        except BaseException:
            if os.fstat(self._descriptor).st_size == 0:
                self._remove_journal()
            self._release()
            raise

    def add(self, report: Report, *, at_once: bool) -> None:
        """Keep a report; `at_once` puts it on the disk before returning.

        Raises:
            ReportError: the disk is full or fails. What was committed before is kept.
        """
        self.reports[report.path] = report
        self._pending.append(json.dumps(asdict(report)).encode() + b"\n")
        if at_once or len(self._pending) >= LINES_A_COMMIT:
            self._commit()

    def finish(self, rows: Iterable[tuple[str, Recording]]) -> None:
        """Write everything to the Parquet file, in the order of the table's `rows`, and remove the journal.

        Without new reports, too: the table may have moved a person to another split, or changed a group or the order.

        Raises:
            ReportError: the file cannot be written. The journal is kept.
        """
        self._commit()
        ordered = self._in_order(rows)
        if self._unsaved or ordered != self._saved:
            self._write_parquet(ordered)
            self._saved = ordered
        self._remove_journal()
        self._unsaved = 0

    def __enter__(self) -> ReportStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if not isinstance(error, ReportError):
                self._commit()
            if not self._unsaved:
                self._remove_journal()
        finally:
            self._release()

    # Opening

    def _lock(self) -> int:
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise self._unwritable(self.output, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that held it may have finished, and removed the journal, since it was opened here.
            if os.fstat(descriptor).st_nlink == 0:
                raise BlockingIOError("finished just now")
        except OSError as error:
            os.close(descriptor)
            raise ReportError(
                f"{self.output}: another process writes it; wait for it or name another --output"
            ) from error
        return descriptor

    def _release(self) -> None:
        os.close(self._descriptor)

    def _read_parquet(self) -> None:
        import pyarrow
        from pyarrow import parquet

        if not self.output.exists():
            return
        try:
            table = parquet.read_table(self.output)
        except (OSError, pyarrow.ArrowException) as error:
            line = first_line(error)
            raise ReportError(f"{self.output}: cannot be read ({line}); name another --output or remove it") from error
        self._refuse_others(self.output, (table.schema.metadata or {}).get(METADATA, b"").decode())
        self._saved = self._take(self.output, table.to_pylist())

    def _read_journal(self) -> None:
        """Take the whole lines of the journal; cut off what a kill left of the last."""
        content = self.journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        header, *lines = whole.splitlines() or [b""]
        if lines:
            self._refuse_others(self.journal, header.decode(errors="replace"))
            try:
                self._take(self.journal, [json.loads(line) for line in lines])
            except ValueError as error:
                raise ReportError(f"{self.journal}: is damaged ({error}); repair or remove it") from error
            self._unsaved = len(lines)
        else:
            whole = b""
        try:
            os.ftruncate(self._descriptor, len(whole))
            if not whole:
                self._append(self._header.encode() + b"\n")
        except OSError as error:
            raise self._unwritable(self.journal, error) from error

    def _take(self, source: Path, rows: Iterable[dict[str, Any]]) -> list[Report]:
        names = {field.name for field in fields(Report)}
        taken = []
        for row in rows:
            if set(row) != names:
                raise ReportError(f"{source}: holds no reports of this program; name another --output or remove it")
            report = Report(**row)
            self.reports[report.path] = report
            taken.append(report)
        return taken

    def _refuse_others(self, source: Path, header: str) -> None:
        try:
            before, now = json.loads(header)["settings"], json.loads(self._header)["settings"]
        except (ValueError, KeyError, TypeError):
            raise ReportError(
                f"{source}: holds no reports of this program; name another --output or remove it"
            ) from None
        changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if changed:
            told = ", ".join(f"{name} ({before.get(name)}, now {now.get(name)})" for name in changed)
            raise ReportError(f"{source}: holds reports with another {told}; name another --output or remove it")

    # Writing

    def _commit(self) -> None:
        if not self._pending:
            return
        lines, self._pending = self._pending, []
        size = os.fstat(self._descriptor).st_size
        try:
            self._append(b"".join(lines))
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise self._unwritable(self.journal, error) from error
        self._unsaved += len(lines)

    def _append(self, content: bytes) -> None:
        """Write all of it, and wait until the disk has it."""
        while content:
            content = content[os.write(self._descriptor, content) :]
        os.fsync(self._descriptor)

    def _in_order(self, rows: Iterable[tuple[str, Recording]]) -> list[Report]:
        """In the order of the table, with its newest groups and splits; then what the table no longer lists."""
        left = dict(self.reports)
        ordered = []
        for key, row in rows:
            if report := left.pop(key, None):
                ordered.append(replace(report, corpus=row.corpus, group=row.group, split=row.split))
        return ordered + list(left.values())

    def _write_parquet(self, reports: list[Report]) -> None:
        import pyarrow
        from pyarrow import parquet

        kinds = {"int": pyarrow.int64(), "bool": pyarrow.bool_(), "str": pyarrow.string()}
        schema = pyarrow.schema([(field.name, kinds[str(field.type)]) for field in fields(Report)])
        schema = schema.with_metadata({METADATA: self._header.encode()})
        try:
            table = pyarrow.Table.from_pylist([asdict(report) for report in reports], schema)
            with writing_whole(self.output) as stream:
                parquet.write_table(table, stream, compression="zstd")
        except (OSError, pyarrow.ArrowException) as error:
            raise self._unwritable(self.output, error) from error

    def _remove_journal(self) -> None:
        """Remove it if it is still one's own: once it is gone, another process may begin its own under that name."""
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._descriptor), self.journal.stat()):
                self.journal.unlink()

    def _unwritable(self, path: Path, error: Exception) -> ReportError:
        reason = getattr(error, "strerror", None) or first_line(error)
        kept = f" the {self._unsaved} reports before are kept in {self.journal};" if self._unsaved else ""
        return ReportError(
            f"{path}: cannot be written ({reason});{kept} make room or name another --output and run again"
        )
