"""Adapters of corpora recorded in the air, on trees with the names and quirks of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from align.corpora import CorpusError, Listing, Recording
from align.corpora.registry import list_corpus
from align.corpora.splits import find_leaks
from align.reports.facts import brief_all
from tests.sounds import write_sound, write_text, write_xls


def by_name(listing: Listing) -> dict[str, Recording]:
    return {row.path.name: row for row in listing.recordings}


def uk_covid19(root: Path) -> Path:
    kinds = ("exhalation", "cough", "three_cough")
    header = ["participant_identifier"] + [f"{kind}_{column}" for kind in kinds for column in ("file_name", "size")]
    write_text(
        root / "audio_metadata.csv",
        ",".join(header),
        "P1,aa.wav,16044,bb.wav,16044,cc.wav,44",
        "P2,dd.wav,16044,ee.wav,16044.0,,",
        "P3,ff.wav,16044,gg.wav,16044,hh.wav,16044",
        "P4,ii.wav,16044,jj.wav,nan,nan,nan",
    )
    write_text(
        root / "participant_metadata.csv",
        "participant_identifier,age,gender,covid_test_result",
        "P1,30,Female,Positive",
        "P2,nan,Prefer not to say,Negative",
        "P4,50,Male,Unknown/Void",
    )
    write_text(
        root / "train_test_splits.csv",
        "participant_identifier,splits,in_matched_rebalanced_test",
        "P1,train,False",
        "P2,test,True",
        "P3,nan,False",
        "P4,long,False",
    )
    (root / "audio").mkdir()
    return root


def test_uk_covid19_joins_three_tables(tmp_path: Path) -> None:
    listing = list_corpus("uk-covid19", uk_covid19(tmp_path))
    rows = by_name(listing)
    assert set(rows) == {"aa.wav", "bb.wav", "dd.wav", "ee.wav", "ii.wav"}
    assert rows["aa.wav"].path == tmp_path / "audio" / "aa.wav"
    assert (rows["aa.wav"].event, rows["bb.wav"].event) == ("breath", "cough")
    assert (rows["bb.wav"].split, rows["ee.wav"].split, rows["ii.wav"].split) == ("train", "test", "test")
    assert (rows["bb.wav"].labels, rows["ee.wav"].labels) == ({"covid": "positive"}, {"covid": "negative"})
    assert rows["ii.wav"].labels == {}, "an inconclusive test is no label"
    assert rows["ee.wav"].metadata["in_matched_rebalanced_test"] == "True"
    assert not {"age", "sex"} & rows["ee.wav"].metadata.keys()
    assert rows["aa.wav"].metadata["sex"] == "female"
    brief_all(listing.recordings, tmp_path)
    assert rows["ii.wav"].metadata["official_split"] == "long"


def test_uk_covid19_says_what_it_left_out(tmp_path: Path) -> None:
    notes = list_corpus("uk-covid19", uk_covid19(tmp_path)).notes
    assert "1 participants without an official split left out" in notes
    assert "4 recordings of 44 bytes or less, or of no known size, left out" in notes


@pytest.mark.parametrize("inside", [True, False])
def test_coughvid_finds_either_container_and_wherever_its_table_is(tmp_path: Path, inside: bool) -> None:
    folder = tmp_path / "public_dataset"
    header = "uuid,datetime,cough_detected,SNR,gender,status,expert_labels_1"
    write_text(
        (folder if inside else tmp_path) / "metadata_compiled.csv",
        header,
        "u-1,2020,0.95,10,male,COVID-19,",
        "u-2,2020,0.10,10,female,,",
        "u-3,2020,0.8000,10,other,symptomatic,",
    )
    write_text(folder / "u-1.webm")
    write_text(folder / "u-1.json", "{}")
    write_text(folder / "u-2.ogg")
    rows = {row.group: row for row in list_corpus("coughvid", tmp_path).recordings}
    assert rows["coughvid:u-1"].path.name == "u-1.webm"
    assert rows["coughvid:u-2"].path.name == "u-2.ogg"
    assert not rows["coughvid:u-3"].path.exists()
    assert [rows[f"coughvid:u-{number}"].event for number in (1, 2, 3)] == ["cough", "", "cough"]
    assert rows["coughvid:u-1"].labels == {"status": "covid-19", "sex": "male"}
    assert rows["coughvid:u-2"].labels == {"sex": "female"}
    assert rows["coughvid:u-3"].labels == {"status": "symptomatic"}


def coswara(root: Path) -> Path:
    write_text(
        root / "combined_data.csv",
        "id,a,covid_status,g,smoker",
        "iV3Db6,34,healthy,male,y",
        "K0Lmig,28,positive_mild,female,False",
        "Zx9,61,no_resp_illness_exposed,other,",
        "gone,61,healthy,female,n",
    )
    for person in ("iV3Db6", "K0Lmig", "Zx9"):
        for kind in ("breathing-deep", "cough-heavy", "counting-fast", "vowel-a"):
            write_sound(root / "Extracted_data" / "20200413" / person / f"{kind}.wav")
    write_sound(root / "Extracted_data" / "20200413" / "stranger" / "cough-heavy.wav")
    write_text(root / "annotations" / "cough-heavy_labels_debottam.csv", "FILENAME, QUALITY", "iV3Db6_cough-heavy, 2")
    write_text(root / "annotations" / "vowel-a_labels.csv", "FILENAME, QUALITY", "Zx9_vowel-a,0")
    return root


def test_coswara_joins_people_and_judged_quality(tmp_path: Path) -> None:
    listing = list_corpus("coswara", coswara(tmp_path))
    rows = {(row.group.partition(":")[2], row.path.stem): row for row in listing.recordings}
    assert len(rows) == 12
    cough = rows["iV3Db6", "cough-heavy"]
    assert (cough.event, cough.metadata["quality"], cough.metadata["age"]) == ("cough", "2", "34")
    assert cough.labels == {"covid_status": "healthy", "sex": "male", "smoker": "yes"}
    assert rows["K0Lmig", "vowel-a"].labels["smoker"] == "no"
    assert not {"smoker", "sex"} & rows["Zx9", "vowel-a"].labels.keys()
    brief_all(listing.recordings, tmp_path)
    assert rows["Zx9", "vowel-a"].metadata["quality"] == "0"
    assert {row.event for row in rows.values()} == {"breath", "cough", "speech", "vowel"}
    assert not find_leaks(listing.recordings)


def test_coswara_names_whom_it_lacks_and_who_is_not_in_its_table(tmp_path: Path) -> None:
    stranger, gone = list_corpus("coswara", coswara(tmp_path)).problems
    assert "no folder of gone, who is in combined_data.csv" in gone
    assert "stranger is not in combined_data.csv" in stranger


def test_ssbpr_reads_the_position_and_keeps_a_sleeper_together(tmp_path: Path) -> None:
    for sex, person in (("female", "1"), ("male", "1"), ("male", "2"), ("male", "3")):
        for position in range(6):
            write_sound(tmp_path / sex / person / f"3-12-{position}.wav")
    write_sound(tmp_path / "male" / "1" / "3-12-7.wav")
    write_sound(tmp_path / "male" / "1" / "._3-12-1.wav")
    listing = list_corpus("ssbpr", tmp_path)
    assert len(listing.recordings) == 24
    assert {row.group for row in listing.recordings} == {
        "ssbpr:female/1",
        "ssbpr:male/1",
        "ssbpr:male/2",
        "ssbpr:male/3",
    }
    assert {row.labels["position"] for row in listing.recordings if row.path.stem.endswith("-4")} == {"right"}
    assert len(listing.problems) == 1
    assert "3-12-7.wav" in listing.problems[0]
    assert not find_leaks(listing.recordings)


def test_mmlung_reads_three_cells_of_old_spreadsheets(tmp_path: Path) -> None:
    trimmed = tmp_path / "Trimmed Data from phone"
    for person in ("04", "17.1"):
        write_sound(trimmed / "9_3_deepbreath" / f"{person}_deepbreaths.wav")
        write_sound(trimmed / "5_2_O_single" / f"{person}_vowelo.wav")
    folder = tmp_path / "spirometry_ground_truth"
    write_xls(folder / "04_test 1.xls", {(22, 1): "3.45*", (23, 1): 2.5, (24, 1): "0,72"})
    write_xls(folder / "17.1_x.xls", {(0, 0): "name", (22, 1): 4.0, (23, 1): "?"})
    listing = list_corpus("mmlung", tmp_path)
    rows = by_name(listing)
    assert rows["04_vowelo.wav"].labels == {"fvc_l": "3.45", "fev1_l": "2.5", "fev1_fvc": "0.72"}
    assert rows["04_deepbreaths.wav"].group == rows["04_vowelo.wav"].group
    assert (rows["04_deepbreaths.wav"].event, rows["04_vowelo.wav"].event) == ("breath", "vowel")
    assert rows["17.1_vowelo.wav"].labels == {"fvc_l": "4"}
    (problem,) = listing.problems
    assert "17.1_x.xls: no number in one of the cells B23, B24, B25" in problem


def test_mmlung_lists_a_spreadsheet_that_cannot_be_read(tmp_path: Path) -> None:
    write_sound(tmp_path / "Trimmed_Data_from_phone" / "5_2_O_single" / "1_vowelo.wav")
    write_text(tmp_path / "spirometry_ground_truth" / "1_a.xls", "not a spreadsheet")
    problems = list_corpus("mmlung", tmp_path).problems
    assert any("1_a.xls: not a readable spreadsheet" in problem for problem in problems)
    assert any("no spirometry of 1" in problem for problem in problems)
    assert any("9_3_deepbreath: missing" in problem for problem in problems)


def test_nosemic_takes_the_rate_from_the_name_even_with_a_point(tmp_path: Path) -> None:
    for name in ("4_1_2_15.5.wav", "4_2_1_22.WAV", "17_1_1_9.wav", "17_readme.wav", "silence.wav"):
        write_sound(tmp_path / "audio" / name)
    listing = list_corpus("nosemic", tmp_path)
    rates = {row.path.name: row.labels["respiration_bpm"] for row in listing.recordings}
    assert rates == {"4_1_2_15.5.wav": "15.5", "4_2_1_22.WAV": "22", "17_1_1_9.wav": "9"}
    assert {row.group for row in listing.recordings} == {"nosemic:4", "nosemic:17"}
    readme, silence = listing.problems
    assert "17_readme.wav: not <person>_<x>_<y>_<rate>" in readme
    assert "silence.wav: not <person>_<x>_<y>_<rate>" in silence


def test_covid19_sounds_puts_web_users_together_and_keeps_the_official_split(tmp_path: Path) -> None:
    write_text(
        tmp_path / "data_0426_en_task1.csv",
        "Uid;Age;Sex;Folder Name;Cough check;Voice filename;Cough filename;Breath filename;split;label",
        "3kJ;20-29;Female;2020-11-26-17_00;c;v.wav;c.wav;b.wav;0;1",
        "2020-04-09-10_11_12_345;30-39;pnts;2020-04-09-10_11_12_345;c;;audio\\c.webm;b.webm;2;0",
        "Xy1;;;f;c;v.m4a;c.m4a;b.m4a;1;0",
        "Xy2;;;f;c;v.m4a;c.m4a;b.m4a;7;0",
    )
    (tmp_path / "0426_EN_used_task1").mkdir()
    listing = list_corpus("covid19-sounds", tmp_path)
    audio = tmp_path / "0426_EN_used_task1"
    rows = {row.path: row for row in listing.recordings}
    assert len(rows) == 8
    cough = rows[audio / "3kJ" / "2020-11-26-17_00" / "c.wav"]
    assert (cough.event, cough.split, cough.labels, cough.metadata["age_range"]) == (
        "cough",
        "train",
        {"symptom": "1"},
        "20-29",
    )
    brief_all(listing.recordings, tmp_path)
    web = rows[audio / "form-app-users" / "2020-04-09-10_11_12_345" / "audio" / "c.webm"]
    assert (web.split, web.group) == ("test", "covid19-sounds:2020-04-09-10_11_12_345")
    assert rows[audio / "Xy1" / "f" / "v.m4a"].split == "validation"
    assert "line 5: split is not 0, 1 or 2" in listing.problems[0]


@pytest.mark.parametrize(
    ("name", "looked_for"),
    [
        ("uk-covid19", "no audio in it"),
        ("coughvid", "no metadata_compiled.csv and no public_dataset/metadata_compiled.csv"),
        ("coswara", "no Extracted_data in it"),
        ("ssbpr", "no female in it"),
        ("mmlung", "no Trimmed Data from phone"),
        ("nosemic", "no audio in it"),
        ("covid19-sounds", "no 0426_EN_used_task1"),
        ("icbhi", "no ICBHI_final_database"),
        ("hf-lung", "no train in it"),
        ("kauh", "no Audio Files"),
        ("respiratory-tr", "no RespiratoryDatabase@TR"),
        ("sprsound", "no BioCAS2022/train2022_wav"),
        ("circor", "no training_data"),
        ("zchsound", "no Clean Heartsound Data Details.csv"),
        ("physionet2016", "no training-a/REFERENCE.csv"),
        ("bmd-hs", "no train in it"),
        ("table", "no recordings.csv"),
    ],
)
def test_folder_of_another_corpus_is_refused_with_what_was_looked_for(
    tmp_path: Path, name: str, looked_for: str
) -> None:
    with pytest.raises(CorpusError) as caught:
        list_corpus(name, tmp_path)
    assert looked_for in str(caught.value)
    assert "\n" not in str(caught.value)


def test_table_of_a_corpus_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    coswara(tmp_path)
    write_text(tmp_path / "combined_data.csv", "id,a,g,smoker", "iV3Db6,34,male,y")
    with pytest.raises(
        CorpusError, match=r"combined_data\.csv: no column covid_status; its columns are id, a, g, smoker"
    ):
        list_corpus("coswara", tmp_path)
