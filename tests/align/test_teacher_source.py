"""Where a teacher comes from: a folder, the installed one, or the hub, with and without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from align.teacher import TeacherError, TeacherSpec
from align.teacher.source import find
from tests.hub import FIRST, SECOND, hub
from tests.teachers import save_teacher

ROOT = Path(__file__).parents[2]
EMBED = """
import json, sys
from pathlib import Path
from align.teacher import TeacherError, TeacherSpec, embed
told = []
for model, revision in json.loads(sys.argv[1]):
    try:
        spec = TeacherSpec(model=model, revision=revision)
        told.append(embed(["No murmur.", "Cough."], spec, Path("cache"), device="cpu")[:, 0].tolist())
    except TeacherError as error:
        told.append(str(error))
print(json.dumps([told, "torch" in sys.modules]))
"""


def embed_elsewhere(
    folder: Path, endpoint: str, *asked: tuple[str, str], **environment: str
) -> tuple[list[object], bool]:
    """What another process makes of models and revisions, one after the other, and whether it needed torch."""
    variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    variables |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", EMBED, json.dumps(asked)]
    run = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
    told, needed_torch = json.loads(run.stdout)
    return told, needed_torch


def test_hub_is_asked_once_and_told_of_in_one_line(tmp_path: Path) -> None:
    for seed, name in enumerate(("first", "second")):
        save_teacher(tmp_path / name, seed=seed)
        (tmp_path / name / "pytorch_model.bin").write_bytes(b"pickled")
    models = {"org/open": {FIRST: tmp_path / "first", SECOND: tmp_path / "second"}}
    models["org/gated"] = {FIRST: tmp_path / "first"}
    with hub(models, gated={"org/gated"}) as (endpoint, sent):
        asked = [
            ("org/open", "main"),
            ("org/open", "next"),
            ("org/open", "v9"),
            ("org/gated", "main"),
            ("org/no", "main"),
        ]
        (main, later, *errors), _ = embed_elsewhere(tmp_path, endpoint, *asked)
    assert main != later
    assert len(list(tmp_path.glob("cache/*/*.safetensors"))) == 2
    assert "pytorch_model.bin" not in sent
    assert errors == [
        "org/open: has no revision v9",
        "org/gated: its terms must be accepted at https://huggingface.co/org/gated and a token given in HF_TOKEN; or "
        "give a local folder",
        "org/no: no such folder here, and no such model on the hub (a private one needs a token in HF_TOKEN)",
    ]
    # The hub is gone: what was embedded is still there, by branch and by commit, and needs no model.
    asked = [("org/open", "main"), ("org/open", SECOND), ("org/gated", "main")]
    (again, by_commit, error), needed_torch = embed_elsewhere(tmp_path, endpoint, *asked, HF_HUB_OFFLINE="1")
    assert (again, by_commit, needed_torch) == (main, later, False)
    assert "org/gated: no such folder here, and the hub cannot be reached (" in str(error)
    assert "give the folder of a model, or run once with a network" in str(error)


def test_network_that_is_down_is_told(tmp_path: Path) -> None:
    (error,), needed_torch = embed_elsewhere(tmp_path, "http://127.0.0.1:9", ("org/open", "main"))
    assert "org/open: no such folder here, and the hub cannot be reached (" in str(error)
    assert "\n" not in str(error)
    assert not needed_torch


@pytest.mark.parametrize("model", ["/no/such/folder", "./gone", "a/b/c", "~/gone"])
def test_folder_that_is_not_there_is_told(model: str) -> None:
    with pytest.raises(TeacherError, match=f"{model}: no such folder; give the folder of a model, or its id"):
        find(TeacherSpec(model=model))


def test_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"holds no config\.json"):
        find(TeacherSpec(model=str(tmp_path)))


@pytest.mark.parametrize("model", ["minilm", "folder"])
def test_revision_of_a_folder_is_refused(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    save_teacher(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TeacherError, match=f"{model}: a folder has no revision v2; leave the revision out"):
        find(TeacherSpec(model=model, revision="v2"))


def test_identity_of_a_folder_is_its_content(tmp_path: Path) -> None:
    save_teacher(tmp_path / "a")
    before = find(TeacherSpec(model=str(tmp_path / "a"))).identity
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy)
    (tmp_path / "b" / "README.md").write_text("a copy")
    assert find(TeacherSpec(model=str(tmp_path / "b"))).identity == before
    weights = tmp_path / "a" / "model.safetensors"
    status = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert find(TeacherSpec(model=str(tmp_path / "a"))).identity != before


def test_settings_that_no_teacher_has_are_refused() -> None:
    for wrong in ({"pooling": "max"}, {"max_tokens": 4}, {"model": ""}, {"size": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TeacherSpec.model_validate(wrong)
