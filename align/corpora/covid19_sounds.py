"""COVID-19 Sounds, task 1: respiratory symptoms (University of Cambridge, by agreement).

Layout: `0426_EN_used_task1/<user>/<folder>/<file>` and, beside it, `data_0426_en_task1.csv` (semicolons) with `Uid`,
`Folder Name`, the names of the voice, cough and breath files, `split` (0, 1, 2) and `label` (1: any symptom). Users of
the web form have a time as id, beginning with 202, and lie under `form-app-users`. The names of the file columns are
unverified: a column counts if it has the word and `file` or `name` in it.

Split: the official one, by user. On the web form everybody is new, so one person may have several ids.
"""

from __future__ import annotations

from pathlib import Path

from align.corpora.reading import find, known, read_rows, to_sex
from align.corpora.recording import CorpusError, Listing, Recording, Split

NAME = "covid19-sounds"
FOLDER, TABLE = "0426_EN_used_task1", "data_0426_en_task1.csv"
EVENTS = {"voice": "speech", "cough": "cough", "breath": "breath"}
SPLITS: dict[str, Split] = {"0": "train", "1": "validation", "2": "test"}


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus, or its table lacks a column.
    """
    audio, table = find(root, NAME, FOLDER), find(root, NAME, TABLE, f"{FOLDER}/{TABLE}")
    rows = read_rows(table, "uid", "split", "label")
    header = list(rows[0]) if rows else []
    folder_column = _column(table, header, "folder")
    file_columns = {kind: _column(table, header, kind, "file", "name") for kind in EVENTS}
    recordings, problems = [], []
    for line, row in enumerate(rows, start=2):
        about = known({name: row.get(name, "") for name in header})
        # Ages are ranges (20-29), and sex may be "other" or "pnts" (prefers not to say).
        about = known(about | {"age": "", "age_range": about.get("age", ""), "sex": to_sex(about.get("sex", ""))})
        user, split = about.pop("uid", ""), SPLITS.get(about.pop("split", ""))
        symptom, folder = about.pop("label", ""), about.pop(folder_column, "")
        names = {kind: about.pop(column, "").replace("\\", "/") for kind, column in file_columns.items()}
        if split is None or symptom not in ("0", "1"):
            problems.append(f"{table}, line {line}: split is not 0, 1 or 2, or label is not 0 or 1")
            continue
        where = audio / ("form-app-users" if user.startswith("202") else user) / folder
        recordings += [
            Recording(
                path=where / name,
                corpus=NAME,
                group=f"{NAME}:{user}",
                split=split,
                modality="airborne",
                event=EVENTS[kind],
                metadata=about,
                labels={"symptom": symptom},
            )
            for kind, name in names.items()
            if name
        ]
    return Listing(recordings, problems)


def _column(table: Path, header: list[str], word: str, *beside: str) -> str:
    """The column with `word` in its name and, where given, one of the words `beside`."""
    for name in header:
        if word in name and (not beside or any(other in name for other in beside)):
            return name
    raise CorpusError(f"{table}: no column for {word}; its columns are {', '.join(header) or 'none'}")
