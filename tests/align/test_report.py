"""The program `align.report`: by template from end to end, and how it answers wrong input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import parquet

from align.report import report, spread
from align.reports.config import ReportSettings
from tests.align.conftest import HEADER, ROOT, run_report, write_table


def write(table: Path, name: str = "r.parquet", **changes: object) -> list[dict[str, object]]:
    report(ReportSettings.model_validate({"recordings": table, "output": table.parent / name, **changes}))
    return parquet.read_table(table.parent / name).to_pylist()


def test_program_writes_a_report_of_every_recording(table: Path) -> None:
    output = table.parent / "r.parquet"
    run = run_report("--recordings", str(table), "--output", str(output))
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"reports: {output} (6 written, 0 kept)\n"
    rows = parquet.read_table(output).to_pylist()
    assert [(row["path"], row["group"], row["split"]) for row in rows[:2]] == [
        ("0.wav", "child-0", "train"),
        ("1.wav", "child-1", "train"),
    ]
    assert {(row["writer"], row["model"], row["seed"], row["hidden"], row["fallback"]) for row in rows} == {
        ("template", "template", 0, "", False)
    }
    assert len({row["prompt_hash"] for row in rows}) == 1
    assert "holosystolic murmur" in str(rows[0]["report"])
    again = run_report("--recordings", str(table), "--output", str(output))
    assert again.stdout == f"reports: {output} (0 written, 6 kept)\n"


def test_hidden_labels_follow_the_flag_as_words(table: Path) -> None:
    output = table.parent / "r.parquet"
    run = run_report("--hide", "murmur", "sex", "--recordings", str(table), "--output", str(output))
    assert run.returncode == 0, run.stderr
    texts = " ".join(row["report"] for row in parquet.read_table(output).to_pylist()).lower()
    assert not any(word in texts for word in ("murmur", "systolic", "male", "outcome", "abnormal"))


def test_flags_that_take_words_are_spread() -> None:
    assert spread(["--hide", "a", "b", "--seed", "1"], "--hide") == ["--hide", "a", "--hide", "b", "--seed", "1"]
    assert spread(["--hide", "a", "--hide", "b"], "--hide") == ["--hide", "a", "--hide", "b"]
    assert spread(["--hide=a", "--seed", "1"], "--hide") == ["--hide=a", "--seed", "1"]


def test_reports_do_not_depend_on_order_or_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = write_table(tmp_path / "a"), write_table(tmp_path / "b")
    header, *lines = second.read_text().splitlines()
    second.write_text("\n".join([header, *reversed(lines)]) + "\n")
    texts = [{row["path"]: row["report"] for row in write(table)} for table in (first, second)]
    assert texts[0] == texts[1]
    assert {row["path"]: row["report"] for row in write(first, "other.parquet", seed=1)} != texts[0]


def test_only_what_is_new_or_changed_is_written_again(table: Path) -> None:
    before = {row["path"]: row["report"] for row in write(table)}
    lines = table.read_text().replace(
        "0.wav,tiny,child-0,train,heart,heart,Present", "0.wav,tiny,child-0,train,heart,heart,"
    )
    lines = lines.replace("AV+MV,Holosystolic,Abnormal,MV,Female,Child", ",,Normal,MV,Female,Child", 1).replace(
        ",1.0,,,", ",,,,"
    )
    (table.parent / "new.wav").touch()
    table.write_text(lines + "new.wav,tiny,child-new,test,heart,heart,Absent,0.0,,,Normal,TV,Male,Child\n")
    settings = ReportSettings.model_validate({"recordings": table, "output": table.parent / "r.parquet"})
    counts, kept = report(settings)
    after = {row["path"]: row["report"] for row in parquet.read_table(settings.output).to_pylist()}
    assert (counts.written, kept) == (2, 5)
    assert "tricuspid" in str(after["new.wav"])
    assert "murmur" not in str(after["0.wav"])
    assert all(after[path] == text for path, text in before.items() if path != "0.wav")


def test_person_who_moved_to_another_split_is_moved_in_the_file(table: Path) -> None:
    before = write(table)
    table.write_text(table.read_text().replace("0.wav,tiny,child-0,train", "0.wav,tiny,child-nil,test"))
    settings = ReportSettings.model_validate({"recordings": table, "output": table.parent / "r.parquet"})
    counts, kept = report(settings)
    assert (counts.written, kept) == (0, 6)
    after = parquet.read_table(settings.output).to_pylist()
    assert after == [{**before[0], "group": "child-nil", "split": "test"}, *before[1:]]


def test_interrupted_run_stops_at_once_and_is_resumed(tmp_path: Path) -> None:
    """The template writer waits for nothing, so that an interrupt is seen only where the work pauses."""
    count = 8000
    table, output = write_table(tmp_path, count), tmp_path / "r.parquet"
    journal = tmp_path / "r.parquet.journal"
    flags = [f"--recordings={table}", f"--output={output}"]
    command = [sys.executable, "-m", "align.report", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    kept = journal.read_bytes().count(b"\n") - 1
    assert 1000 <= kept < count
    run = run_report(*flags)
    assert run.stdout == f"reports: {output} ({count - kept} written, {kept} kept)\n"
    assert parquet.read_table(output).num_rows == count


def test_corpora_can_be_written_one_after_the_other(table: Path) -> None:
    table.write_text(table.read_text().replace("5.wav,tiny", "5.wav,large"))
    assert len(write(table, corpora=("large",))) == 1
    assert [row["path"] for row in write(table, corpora=("tiny",))] == [f"{number}.wav" for number in range(6)]


@pytest.mark.parametrize(
    ("header", "flags", "message"),
    [
        (HEADER.replace(",group", ",person"), [], "no column group; a corpus table needs path, group and split"),
        (HEADER, ["--hide", "murmr"], "--hide murmr: no report states that; did you mean murmur?"),
        (HEADER, ["--corpora", "big"], "no corpus big to write of"),
        (HEADER, ["--writer", "server"], "--writer server needs --model"),
        (HEADER, ["--writer", "typewriter"], "typewriter"),
        (HEADER, ["--output", "."], ".: is a folder; name a file for --output, such as reports.parquet"),
        (HEADER.replace("sex", "murmur_locations_2").replace("age", "height_cm"), [], "height_cm of 0.wav is 'Child'"),
        (
            "path,corpus,group,split,modality,a,b,c,d,e,f,g,h,i",
            ["--recordings", "bare.csv"],
            "no column holds a fact to report; add one of event, kind",
        ),
    ],
)
def test_wrong_input_is_one_line_and_status_2(table: Path, header: str, flags: list[str], message: str) -> None:
    lines = table.read_text().splitlines()[1:]
    table.write_text("\n".join([header, *lines]) + "\n")
    bare = table.parent / "bare.csv"
    bare.write_text("path,group,split,colour\n0.wav,ann,train,red\n")
    flags = [str(bare) if flag == "bare.csv" else flag for flag in flags]
    run = run_report(f"--recordings={table}", f"--output={table.parent / 'r.parquet'}", *flags)
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1
    assert message in run.stderr
    assert run.stdout == ""


def test_resumption_with_other_settings_is_one_line_and_status_2(table: Path) -> None:
    write(table)
    run = run_report(f"--recordings={table}", f"--output={table.parent / 'r.parquet'}", "--seed=1", "--hide=sex")
    assert run.returncode == 2
    assert "holds reports with another hide ([], now ['sex']), seed (0, now 1)" in run.stderr
    assert run.stderr.count("\n") == 1


def test_output_in_a_folder_that_cannot_be_made_is_one_line_and_status_2(table: Path) -> None:
    run = run_report(f"--recordings={table}", f"--output={table / 'r.parquet'}")
    assert run.returncode == 2
    assert "cannot be written (" in run.stderr
    assert run.stderr.count("\n") == 1


def test_no_setting_takes_the_key(table: Path) -> None:
    run = run_report("--help")
    assert "--api_key_env" in run.stdout
    assert "--api_key " not in run.stdout
    assert os.environ.get("OPENAI_API_KEY", "no key") not in run.stdout
