"""Adapters of heart corpora, on trees with the names and quirks of the real ones."""

from __future__ import annotations

from pathlib import Path

from align.corpora import Listing, Recording
from align.corpora.registry import list_corpus
from align.corpora.splits import find_leaks
from align.reports.facts import brief_all
from tests.sounds import write_sound, write_text


def by_name(listing: Listing) -> dict[str, Recording]:
    return {row.path.name: row for row in listing.recordings}


def circor(root: Path) -> Path:
    folder = root / "training_data"
    children = {
        "2530": ("Child", "Absent", "nan", "Abnormal", "nan"),
        "9979": ("Infant", "Present", "AV+TV", "Normal", "nan"),
        "50001": ("nan", "Unknown", "nan", "Normal", "2530"),
    }
    for child, (age, murmur, where, outcome, other) in children.items():
        write_text(
            folder / f"{child}.txt",
            f"{child} 2 4000",
            f"AV {child}_AV.hea {child}_AV.wav {child}_AV.tsv",
            f"PV {child}_PV.hea {child}_PV.wav {child}_PV.tsv",
            f"#Age: {age}",
            f"#Murmur: {murmur}",
            f"#Murmur locations: {where}",
            f"#Outcome: {outcome}",
            "#Campaign: CC2015",
            f"#Additional ID: {other}",
        )
        for name in ("AV", "PV_2", "Phc"):
            write_sound(folder / f"{child}_{name}.wav")
    write_sound(folder / "77_AV.wav")
    return root


def test_circor_labels_the_child_and_the_place(tmp_path: Path) -> None:
    rows = by_name(list_corpus("circor", circor(tmp_path)))
    assert rows["9979_AV.wav"].labels == {"murmur": "present", "outcome": "normal", "murmur_here": "1"}
    assert rows["9979_PV_2.wav"].labels == {"murmur": "present", "outcome": "normal", "murmur_here": "0"}
    assert rows["2530_AV.wav"].labels == {"murmur": "absent", "outcome": "abnormal", "murmur_here": "0"}
    assert rows["50001_AV.wav"].labels == {"murmur": "unknown", "outcome": "normal"}
    assert rows["9979_Phc.wav"].metadata["site"] == "PHC"
    assert rows["9979_AV.wav"].metadata["murmur_locations"] == "AV+TV"
    assert "age" not in rows["50001_AV.wav"].metadata


def test_circor_child_of_two_campaigns_is_one_group(tmp_path: Path) -> None:
    listing = list_corpus("circor", circor(tmp_path))
    assert by_name(listing)["50001_AV.wav"].group == by_name(listing)["2530_AV.wav"].group
    assert not find_leaks(listing.recordings)


def test_circor_twin_is_known_from_either_text(tmp_path: Path) -> None:
    folder = circor(tmp_path) / "training_data"
    for child, other in (("50001", "nan"), ("2530", "50001")):
        text = (folder / f"{child}.txt").read_text()
        (folder / f"{child}.txt").write_text(text.rpartition("#")[0] + f"#Additional ID: {other}\n")
    rows = by_name(list_corpus("circor", tmp_path))
    assert rows["50001_AV.wav"].group == rows["2530_AV.wav"].group == "circor:2530"


def test_circor_names_a_recording_without_its_child(tmp_path: Path) -> None:
    (problem,) = list_corpus("circor", circor(tmp_path)).problems
    assert "77_AV.wav: no 77.txt beside it" in problem


def test_zchsound_reads_both_parts_whatever_the_case_of_their_names(tmp_path: Path) -> None:
    header = "fileName;gender;age(days);diagnosis"
    write_text(
        tmp_path / "Clean Heartsound Data Details.csv", header, "ZCH0001.wav;M;2310;NORMAL", "ZCH0002.wav;F;12;asd"
    )
    write_text(tmp_path / "Noise Heartsound Data Details.csv", header, "ZCH0942.wav;F;NA;VSD")
    write_sound(tmp_path / "clean Heartsound Data" / "ZCH0001.wav")
    write_sound(tmp_path / "clean Heartsound Data" / "zch0002.WAV")
    write_sound(tmp_path / "Noise Heartsound Data Details" / "ZCH0942.wav")
    rows = {row.group: row for row in list_corpus("zchsound", tmp_path).recordings}
    assert all(row.path.is_file() for row in rows.values())
    assert rows["zchsound:ZCH0002"].labels == {"diagnosis": "asd"}
    assert rows["zchsound:ZCH0001"].metadata == {"quality": "clean", "age_days": "2310", "sex": "male"}
    assert rows["zchsound:ZCH0942"].metadata == {"quality": "noisy", "sex": "female"}


def physionet2016(root: Path) -> Path:
    for letter in "abcdef":
        records = [f"{letter}{number:04d}" for number in range(1, 11)]
        folder = root / f"training-{letter}"
        for record in records:
            write_sound(folder / f"{record}.wav", 0.02, 2000)
        labels = [f"{record},{1 if place % 2 else -1}" for place, record in enumerate(records)]
        write_text(folder / "REFERENCE.csv", *labels)
        if letter == "a":
            write_text(folder / "REFERENCE-SQI.csv", *(f"{line},1" for line in labels))
        if letter == "b":
            updated = root / "annotations" / "updated" / "training-b"
            write_text(updated / "REFERENCE_withSQI.csv", *(f"{line},0" for line in labels))
    write_sound(root / "validation" / "a0001.wav", 0.02, 2000)
    return root


def test_physionet2016_splits_by_database(tmp_path: Path) -> None:
    listing = list_corpus("physionet2016", physionet2016(tmp_path))
    # What is held out for validation is taken from training.
    part = {"train": "train", "validation": "train", "test": "test"}
    splits = {
        letter: [part[row.split] for row in listing.recordings if row.metadata["database"] == letter]
        for letter in "abcdef"
    }
    assert {letter: set(found) for letter, found in splits.items() if letter in "bcdf"} == {
        "b": {"train"},
        "c": {"train"},
        "d": {"test"},
        "f": {"test"},
    }
    assert (splits["a"].count("train"), splits["a"].count("test")) == (8, 2)
    assert (splits["e"].count("train"), splits["e"].count("test")) == (8, 2)
    assert len(listing.recordings) == 60, "the copies in validation/ are not read"


def test_physionet2016_reads_outcome_and_quality(tmp_path: Path) -> None:
    rows = by_name(list_corpus("physionet2016", physionet2016(tmp_path)))
    assert (rows["a0001.wav"].labels, rows["a0002.wav"].labels) == ({"outcome": "normal"}, {"outcome": "abnormal"})
    assert rows["a0001.wav"].metadata["quality"] == "1"
    assert rows["b0001.wav"].metadata["quality"] == "0"
    assert "quality" not in rows["c0001.wav"].metadata


def test_physionet2016_names_a_missing_database_and_a_line_without_outcome(tmp_path: Path) -> None:
    write_text(tmp_path / "training-a" / "REFERENCE.csv", "a0001,-1", "a0002")
    problems = list_corpus("physionet2016", tmp_path).problems
    assert any("'a0002' is not a record and -1 or 1" in problem for problem in problems)
    assert sum("missing" in problem for problem in problems) == 5


def test_bmd_hs_reads_the_misnamed_file_and_several_diseases(tmp_path: Path) -> None:
    for name in ("MD_085_sit_Tri6_06", "MD_085_sup_Mit", "N_001_sit_Aor", "AS_003_sit_Pul", "odd"):
        write_sound(tmp_path / "train" / f"{name}.wav")
    write_text(
        tmp_path / "train.csv",
        "patient_id,AS,AR,MR,MS,N",
        "patient_001,0,0,0,0,1",
        "patient_085,1,0,1,0,0",
        "patient_099,1,0,1,0,0",
    )
    listing = list_corpus("bmd-hs", tmp_path)
    row = by_name(listing)["MD_085_sit_Tri6_06.wav"]
    assert row.metadata == {"posture": "sit", "site": "TV"}
    assert row.labels == {"diagnosis": "md", "as": "1", "ar": "0", "mr": "1", "ms": "0", "n": "0"}
    assert row.group == by_name(listing)["MD_085_sup_Mit.wav"].group
    brief_all(listing.recordings, tmp_path)
    problems = "\n".join(listing.problems)
    assert "odd.wav: not a name of this corpus" in problems
    assert "AS_003_sit_Pul.wav: person 3 is not in train.csv" in problems
    assert "no recording of person 99" in problems
    assert not find_leaks(listing.recordings)
