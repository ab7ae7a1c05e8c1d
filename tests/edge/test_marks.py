from pathlib import Path

import pytest

from edge.errors import UserError
from edge.marks import Recording, read_recordings

HEADER = "file\tonset\toffset\tlabel\n"


def _write(folder: Path, reference: str, events: str = "") -> tuple[Path, Path]:
    paths = folder / "ref.tsv", folder / "events.jsonl"
    for path, text in zip(paths, (reference, events), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def _event(file: str, onset_s: object = 1.0, label: str = "cough") -> str:
    onset = f'"{onset_s}"' if isinstance(onset_s, str) else onset_s
    return f'{{"file": "{file}", "label": "{label}", "onset_s": {onset}, "score": 0.9}}\n'


def test_read_joins_marks_and_detections_in_the_order_of_the_reference(tmp_path: Path) -> None:
    reference, events = _write(
        tmp_path,
        HEADER + "b.wav\t1.5\t2\tcough\nb.wav\t4\t4.5\tbreath\na.wav\t0.25\t0.5\tcough\nb.wav\t0.5\t1\tcough\n",
        _event("a.wav", 0.3) + "\n" + _event("b.wav", 9) + _event("b.wav", 4, "breath"),
    )
    assert read_recordings(reference, events, "cough") == [
        Recording("b.wav", (1.5, 0.5), (9.0,)),
        Recording("a.wav", (0.25,), (0.3,)),
    ]


def test_read_takes_the_length_from_any_row_of_a_recording(tmp_path: Path) -> None:
    text = "label\tfile\trecording_s\tonset\toffset\ncough\ta.wav\t\t1\t2\ncough\ta.wav\t60\t3\t4\n\tb.wav\t30\t\t\n"
    reference, events = _write(tmp_path, text)
    assert [(r.name, r.recording_s) for r in read_recordings(reference, events, "cough")] == [
        ("a.wav", 60.0),
        ("b.wav", 30.0),
    ]


def test_read_counts_a_row_without_times_as_a_recording_without_events(tmp_path: Path) -> None:
    reference, events = _write(tmp_path, HEADER + "quiet.wav\t\t\t\n", _event("quiet.wav", 2))
    assert read_recordings(reference, events, "cough") == [Recording("quiet.wav", (), (2.0,))]


@pytest.mark.parametrize(
    ("named", "replayed"),
    [("ward/a.wav", "../data/ward/a.wav"), ("data/ward/a.wav", "a.wav"), ("a.wav", "/srv/a.wav")],
)
def test_read_finds_a_file_by_the_end_of_its_path(tmp_path: Path, named: str, replayed: str) -> None:
    reference, events = _write(tmp_path, HEADER + f"{named}\t1\t2\tcough\n", _event(replayed))
    assert read_recordings(reference, events, "cough") == [Recording(named, (1.0,), (1.0,))]


def test_read_accepts_an_empty_file_of_events_and_a_byte_order_mark(tmp_path: Path) -> None:
    reference, events = _write(tmp_path, "\ufeff" + HEADER + "a.wav\t1\t2\tcough\n")
    assert read_recordings(reference, events, "cough") == [Recording("a.wav", (1.0,))]


@pytest.mark.parametrize(
    ("reference", "where", "what"),
    [
        ("", "line 1", "no column file"),
        ("file,onset,offset,label\na.wav,1,2,cough\n", "line 1", "separated by tabs"),
        ("file\tonset\tlabel\na.wav\t1\tcough\n", "line 1", "no column offset"),
        (HEADER, "ref.tsv", "names no recording"),
        (HEADER + "a.wav\t1\t2\tcough\na.wav\t1,5\t2\tcough\n", "line 3", "onset is '1,5'"),
        (HEADER + "a.wav\t1\t-2\tcough\n", "line 2", "offset is -2.0"),
        (HEADER + "a.wav\tnan\t2\tcough\n", "line 2", "onset is nan"),
        (HEADER + "a.wav\t1\t\tcough\n", "line 2", "offset is ''"),
        (HEADER + "a.wav\t3\t2\tcough\n", "line 2", "before the onset"),
        (HEADER + "a.wav\t1\t2\n", "line 2", "4 columns"),
        (HEADER + "a.wav\t1\t2\tcough\tdry\n", "line 2", "4 columns"),
        (HEADER + "\t1\t2\tcough\n", "line 2", "file is empty"),
        (
            HEADER[:-1] + "\trecording_s\na\t1\t2\tcough\t9\na\t3\t4\tcough\t8\n",
            "line 3",
            "9 s long further up and 8 s",
        ),
    ],
)
def test_read_names_file_and_line_of_a_wrong_reference(tmp_path: Path, reference: str, where: str, what: str) -> None:
    paths = _write(tmp_path, reference)
    with pytest.raises(UserError) as raised:
        read_recordings(*paths, "cough")
    message = str(raised.value)
    assert str(paths[0]) in message
    assert where in message
    assert what in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("cough at 3 s\n", "is not JSON"),
        ("[1, 2]\n", "not a JSON object"),
        ('{"label": "cough", "onset_s": 1}\n', "needs file, label and onset_s"),
        (_event("a.wav", "soon"), "needs file, label and onset_s"),
        (_event("a.wav", "NaN").replace('"NaN"', "NaN"), "onset_s is nan"),
        (_event("other.wav"), "other.wav is not in"),
    ],
)
def test_read_names_file_and_line_of_a_wrong_event(tmp_path: Path, line: str, what: str) -> None:
    paths = _write(tmp_path, HEADER + "a.wav\t1\t2\tcough\n", _event("a.wav") + line)
    with pytest.raises(UserError) as raised:
        read_recordings(*paths, "cough")
    assert f"{paths[1]}, line 2: " in str(raised.value)
    assert what in str(raised.value)


def test_read_refuses_a_name_that_stands_for_two_recordings(tmp_path: Path) -> None:
    paths = _write(tmp_path, HEADER + "x/a.wav\t1\t2\tcough\ny/a.wav\t1\t2\tcough\n", _event("a.wav"))
    with pytest.raises(UserError, match=r"a\.wav could be x/a\.wav or y/a\.wav"):
        read_recordings(*paths, "cough")


def test_read_refuses_two_files_that_stand_for_one_recording(tmp_path: Path) -> None:
    paths = _write(tmp_path, HEADER + "a.wav\t1\t2\tcough\n", _event("x/a.wav") + _event("y/a.wav"))
    with pytest.raises(UserError, match=r"y/a\.wav is a second file that stands for a\.wav"):
        read_recordings(*paths, "cough")


def test_read_names_a_file_that_is_missing_or_no_text(tmp_path: Path) -> None:
    reference, events = _write(tmp_path, HEADER + "a.wav\t1\t2\tcough\n")
    with pytest.raises(UserError, match=r"gone\.tsv: cannot be read"):
        read_recordings(tmp_path / "gone.tsv", events, "cough")
    events.write_bytes(b"\xff\xfe\x00audio")
    with pytest.raises(UserError, match=r"events\.jsonl: is not a text file"):
        read_recordings(reference, events, "cough")
