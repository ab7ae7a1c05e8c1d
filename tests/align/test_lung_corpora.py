"""Adapters of lung corpora, on trees with the names and quirks of the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from align.corpora import CorpusError, Listing, Recording
from align.corpora.registry import list_corpus
from align.corpora.splits import find_leaks
from tests.sounds import write_sound, write_text, write_xlsx


def by_name(listing: Listing) -> dict[str, Recording]:
    return {row.path.name: row for row in listing.recordings}


def icbhi(root: Path) -> Path:
    folder = root / "ICBHI_final_database"
    names = {
        "101_1b1_Al_sc_Meditron": "test",
        "156_2b3_Pl_mc_AKGC417L": "train",
        "156_5b3_Ll_mc_AKGC417L": "test",
        "170_1b2_Tc_mc_LittC2SE": "train",
    }
    for name in names:
        write_sound(folder / f"{name}.wav")
        write_text(folder / f"{name}.txt", "0.036\t0.579\t0\t0", "0.579\t2.45\t1\t0", "2.45\t3.893\t1\t1")
    write_text(folder / "170_1b2_Tc_mc_LittC2SE.txt", "0.036\t0.579\t0\t0")
    write_text(root / "ICBHI_challenge_train_test.txt", *(f"{name}\t{split}" for name, split in names.items()))
    write_text(root / "ICBHI_Challenge_diagnosis.txt", "101\tURTI", "156\tCOPD", "170\tCOPD")
    return root


def test_icbhi_moves_people_of_both_parts_to_training(tmp_path: Path) -> None:
    listing = list_corpus("icbhi", icbhi(tmp_path))
    rows = by_name(listing)
    moved = rows["156_5b3_Ll_mc_AKGC417L.wav"]
    assert (moved.split, moved.metadata["official_split"]) == ("train", "test")
    assert rows["101_1b1_Al_sc_Meditron.wav"].split == "test"
    assert not find_leaks(listing.recordings)
    assert listing.notes[0] == "1 of the official split's people are on both sides of it: 1 recordings to train"
    assert not listing.problems


def test_icbhi_reads_cycles_and_diagnosis(tmp_path: Path) -> None:
    row = by_name(list_corpus("icbhi", icbhi(tmp_path)))["101_1b1_Al_sc_Meditron.wav"]
    assert row.labels == {"diagnosis": "urti", "crackles": "1", "wheezes": "1"}
    assert row.times_s == ((0.036, 0.579), (0.579, 2.45), (2.45, 3.893))
    assert row.metadata["marks"] == "0.036-0.579:none;0.579-2.45:crackle;2.45-3.893:both"
    assert (row.metadata["site"], row.metadata["device"]) == ("Al", "Meditron")
    clear = by_name(list_corpus("icbhi", tmp_path))["170_1b2_Tc_mc_LittC2SE.wav"]
    assert clear.labels == {"diagnosis": "copd", "crackles": "0", "wheezes": "0"}


def test_icbhi_names_what_is_missing(tmp_path: Path) -> None:
    folder = icbhi(tmp_path) / "ICBHI_final_database"
    (folder / "101_1b1_Al_sc_Meditron.wav").unlink()
    (folder / "170_1b2_Tc_mc_LittC2SE.txt").unlink()
    write_sound(folder / "999_1b1_Al_sc_Meditron.wav")
    problems = "\n".join(list_corpus("icbhi", tmp_path).problems)
    assert "no recording 101_1b1_Al_sc_Meditron, which the official split lists" in problems
    assert "170_1b2_Tc_mc_LittC2SE.txt: missing" in problems
    assert "999_1b1_Al_sc_Meditron.wav: not in the official split" in problems


def test_icbhi_line_that_is_no_cycle_is_told_and_makes_no_label(tmp_path: Path) -> None:
    folder = icbhi(tmp_path) / "ICBHI_final_database"
    write_text(
        folder / "101_1b1_Al_sc_Meditron.txt", "0.036\t0.579\t1\t0", "2.45\t0.579\t0\t1", "2.45\t3", "3\t4\t0\tx"
    )
    listing = list_corpus("icbhi", tmp_path)
    row = by_name(listing)["101_1b1_Al_sc_Meditron.wav"]
    assert row.labels == {"diagnosis": "urti", "crackles": "1"}, "whether there is a wheeze is not known"
    problems = "\n".join(listing.problems)
    assert "the mark 2.45-0.579 does not end after it starts" in problems
    assert "the line '2.45 3' is not a start, an end, and twice 0 or 1" in problems
    assert "the line '3 4 0 x' is not" in problems


def test_icbhi_validates_on_a_tenth_of_the_training_people(tmp_path: Path) -> None:
    people = [*range(101, 141), 156]
    lines = []
    for person in people:
        for name in (f"{person}_1b1_Al_sc_Meditron", f"{person}_2b1_Al_sc_Meditron"):
            write_sound(tmp_path / "ICBHI_final_database" / f"{name}.wav")
            write_text(tmp_path / "ICBHI_final_database" / f"{name}.txt", "0.036\t0.579\t0\t0")
            lines.append(f"{name}\t{'test' if person == 156 else 'train'}")
    write_text(tmp_path / "ICBHI_challenge_train_test.txt", *lines)
    write_text(tmp_path / "ICBHI_Challenge_diagnosis.txt", *(f"{person}\tURTI" for person in people))
    listing = list_corpus("icbhi", tmp_path)
    held = {row.group for row in listing.recordings if row.split == "validation"}
    assert held == {"icbhi:122", "icbhi:138"}, "the same people on every machine"
    assert {row.group for row in listing.recordings if row.split == "test"} == {"icbhi:156"}
    assert not find_leaks(listing.recordings)
    assert listing.notes == [
        f"the split has no validation part: {len(held)} of 40 training groups are held out for it, "
        f"{2 * len(held)} recordings"
    ]


def test_icbhi_files_in_upper_case_and_beside_the_recordings_are_found(tmp_path: Path) -> None:
    folder = icbhi(tmp_path) / "ICBHI_final_database"
    for name in ("ICBHI_challenge_train_test.txt", "ICBHI_Challenge_diagnosis.txt"):
        (tmp_path / name).rename(folder / name.upper())
    assert len(list_corpus("icbhi", tmp_path).recordings) == 4


def test_hf_lung_reads_clock_times_and_joins_the_pieces_of_a_session(tmp_path: Path) -> None:
    for split, stem in (
        ("train", "steth_20180814_09_37_11"),
        ("train", "trunc_2019-08-21-10-05-00-L1_14"),
        ("test", "trunc_2019-08-21-10-05-00-L4_2"),
        ("test", "trunc_2019-09-21-10-05-00-L4_2"),
    ):
        write_sound(tmp_path / split / f"{stem}.wav")
        write_text(
            tmp_path / split / f"{stem}_label.txt",
            "I 00:00:01.5 00:00:02.25",
            "E 00:00:02.25 00:00:03",
            "Wheeze 00:00:02.5 00:00:02.75",
        )
    listing = list_corpus("hf-lung", tmp_path)
    rows = by_name(listing)
    row = rows["steth_20180814_09_37_11.wav"]
    assert row.times_s == ((1.5, 2.25), (2.25, 3.0))
    assert row.labels == {"wheeze": "1", "rhonchi": "0", "stridor": "0", "discontinuous": "0"}
    assert row.metadata["marks"] == "1.5-2.25:I;2.25-3:E;2.5-2.75:Wheeze"
    assert rows["trunc_2019-08-21-10-05-00-L4_2.wav"].split == "train", "its session is in training, too"
    assert rows["trunc_2019-09-21-10-05-00-L4_2.wav"].split == "test"
    assert not find_leaks(listing.recordings)


def test_hf_lung_line_that_is_no_mark_is_told_and_makes_no_label(tmp_path: Path) -> None:
    write_sound(tmp_path / "train" / "steth_20180814_09_37_11.wav")
    (tmp_path / "test").mkdir()
    write_text(
        tmp_path / "train" / "steth_20180814_09_37_11_label.txt",
        "D 00:00:01 00:00:02",
        "",
        "Wheeze 00:00:05 00:00:03",
        "Rhonchi 00:00:07",
    )
    listing = list_corpus("hf-lung", tmp_path)
    (row,) = listing.recordings
    assert row.labels == {"discontinuous": "1"}, "what else is there is not known"
    assert row.metadata["marks"] == "1-2:D"
    short, inverted = listing.problems
    assert "_label.txt, line 4: 'Rhonchi 00:00:07' is not a class, a start and an end" in short
    assert "_label.txt: the mark 5.0-3.0 does not end after it starts" in inverted


def test_hf_lung_recording_without_marks_has_no_labels(tmp_path: Path) -> None:
    write_sound(tmp_path / "train" / "steth_20180814_09_37_11.wav")
    (tmp_path / "test").mkdir()
    listing = list_corpus("hf-lung", tmp_path)
    assert listing.recordings[0].labels == {}
    assert "no label file steth_20180814_09_37_11_label.txt" in listing.problems[0]


def test_kauh_joins_the_filters_of_a_person_and_the_spellings_of_a_diagnosis(tmp_path: Path) -> None:
    names = [
        "BP58_N,N,P R M,43,F",
        "DP58_N,N,P R M,43,F",
        "EP58_N,N,P R M,43,F",
        "BP1_Asthma,I E W,P L L,70,M",
        "DP2_asthma,E W,P L R ,62,F",
        "EP3_Heart Failure,C,P L L,83,M",
        "BP4_heart failure,C ,P R U ,83,F",
        "BP5_copd,E W,P R L ,57,M ",
        "BP6_Plueral Effusion,N,A L R,81,M",
        "BP7_Heart Failure + COPD ,C,P R L,71,M",
        "BP8_Asthma and lung fibrosis,C,P L M,90,F",
        "BP9_BRON,Bronchial,A R U,68,F",
    ]
    for name in names:
        write_sound(tmp_path / "Audio Files" / f"{name}.wav")
    write_sound(tmp_path / "Audio Files" / "readme.wav")
    listing = list_corpus("kauh", tmp_path)
    diagnosis = {row.group: row.labels["diagnosis"] for row in listing.recordings}
    assert diagnosis == {
        "kauh:58": "normal",
        "kauh:1": "asthma",
        "kauh:2": "asthma",
        "kauh:3": "heart failure",
        "kauh:4": "heart failure",
        "kauh:5": "copd",
        "kauh:6": "pleural effusion",
        "kauh:7": "copd + heart failure",
        "kauh:8": "asthma + lung fibrosis",
        "kauh:9": "bronchitis",
    }
    assert len(listing.recordings) == len(names)
    assert not find_leaks(listing.recordings)
    row = by_name(listing)["BP5_copd,E W,P R L ,57,M .wav"]
    assert row.metadata == {"filter": "B", "location": "P R L", "age": "57", "sex": "male"}
    assert row.labels["sound"] == "E W"
    assert "readme.wav: not a name of this corpus" in listing.problems[0]


def respiratory_tr(root: Path) -> Path:
    for person in ("H002", "H005", "h010"):
        for place in ("L1", "R6"):
            write_sound(root / "RespiratoryDatabase@TR" / f"{person}_{place}.wav")
    return root


def test_respiratory_tr_reads_severities_from_its_spreadsheet(tmp_path: Path) -> None:
    rows = [["Patient ID", "Diagnosis"], ["H002", "COPD4"], ["H005", " COPD0"], ["H099", "COPD1"]]
    write_xlsx(respiratory_tr(tmp_path) / "Labels.xlsx", rows)
    listing = list_corpus("respiratory-tr", tmp_path)
    severity = {row.group: row.labels.get("copd") for row in listing.recordings}
    assert severity == {"respiratory-tr:H002": "4", "respiratory-tr:H005": "0", "respiratory-tr:H010": None}
    problems = "\n".join(listing.problems)
    assert "H010 is not in Labels.xlsx" in problems
    assert "no recording of H099, who is in Labels.xlsx" in problems
    assert not find_leaks(listing.recordings)


def test_respiratory_tr_spreadsheet_without_a_column_is_refused(tmp_path: Path) -> None:
    write_xlsx(respiratory_tr(tmp_path) / "Labels.xlsx", [["Patient ID", "Severity"], ["H002", "COPD4"]])
    with pytest.raises(CorpusError, match=r"Labels\.xlsx: no column Diagnosis"):
        list_corpus("respiratory-tr", tmp_path)


def sprsound(root: Path) -> Path:
    year = root / "BioCAS2022"
    marks = [
        {"start": "2499", "end": "4277", "type": "Normal"},
        {"start": "5182", "end": "7542", "type": "Fine Crackle"},
    ]
    for folder, stem, annotation in (
        ("train2022", "40890405_3.3_0_p3_3655", {"record_annotation": "DAS"}),
        ("test2022", "40993807_4.2_1_p3_387", {"recording_annotation": "CAS & DAS"}),
        ("test2022", "40890405_3.3_0_p1_674", {"record_annotation": "Normal"}),
    ):
        part = "intra" if "674" in stem else "inter"
        under = f"{part}_test_json/" if folder == "test2022" else ""
        write_sound(year / f"{folder}_wav" / f"{stem}.wav")
        write_text(
            year / f"{folder}_json" / f"{under}{stem}.json", json.dumps(annotation | {"event_annotation": marks})
        )
    later = root / "BioCAS2024"
    write_sound(later / "test2024_wav" / "_00015105_5.3_0_p7_25271.wav")
    write_text(later / "test2024_json" / "_00015105_5.3_0_p7_25271.json", json.dumps({"event_annotation": marks[:1]}))
    return root


def test_sprsound_tests_on_other_children_only(tmp_path: Path) -> None:
    listing = list_corpus("sprsound", sprsound(tmp_path))
    split = {row.path.stem: row.split for row in listing.recordings}
    assert split == {
        "40890405_3.3_0_p3_3655": "train",
        "40993807_4.2_1_p3_387": "test",
        "40890405_3.3_0_p1_674": "train",
        "_00015105_5.3_0_p7_25271": "test",
    }
    assert not find_leaks(listing.recordings)
    assert not listing.problems


def test_sprsound_reads_milliseconds_written_as_text(tmp_path: Path) -> None:
    rows = {row.path.stem: row for row in list_corpus("sprsound", sprsound(tmp_path)).recordings}
    row = rows["40993807_4.2_1_p3_387"]
    assert row.times_s == ((2.499, 4.277), (5.182, 7.542))
    assert row.labels == {"sounds": "cas & das"}
    assert row.metadata["marks"] == "2.499-4.277:Normal;5.182-7.542:Fine Crackle"
    assert (row.metadata["age"], row.metadata["sex"]) == ("4.2", "female")
    assert rows["_00015105_5.3_0_p7_25271"].labels == {}


def test_sprsound_annotation_that_is_missing_or_broken_is_listed(tmp_path: Path) -> None:
    year = sprsound(tmp_path) / "BioCAS2022"
    write_text(year / "train2022_json" / "40890405_3.3_0_p3_3655.json", '{"record_annotation": "DAS"')
    write_sound(year / "train2022_wav" / "41000000_3.3_0_p3_1.wav")
    problems = "\n".join(list_corpus("sprsound", tmp_path).problems)
    assert "40890405_3.3_0_p3_3655.wav: no readable annotation" in problems
    assert "41000000_3.3_0_p3_1.wav: no readable annotation" in problems
