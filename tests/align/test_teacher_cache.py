"""Embeddings on disk: what survives a kill, a full disk and a damaged file."""

from __future__ import annotations

import fcntl
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from align.teacher import TeacherError, TeacherSpec, embed
from align.teacher.cache import EmbeddingCache
from tests.teachers import REPORTS, save_teacher

ROOT = Path(__file__).parents[2]
MANY = [f"Report {number}: {REPORTS[number % 5]}" for number in range(3000)]
EMBED = """
import sys
from pathlib import Path
from align.teacher import TeacherSpec, embed
from tests.align.test_teacher_cache import MANY
embed(MANY, TeacherSpec(model=sys.argv[1]), Path(sys.argv[2]), batch_size=2, device="cpu")
"""


def texts_on_disk(cache: Path) -> list[bytes]:
    """The digest of the text of each row of each file."""
    return [text.tobytes() for path in cache.glob("*/*.safetensors") for text in load_file(path)["texts"]]


def start(model: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", EMBED, str(model), str(cache)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for_files(cache: Path, count: int, run: subprocess.Popen[str]) -> None:
    while len(list(cache.glob("*/*.safetensors"))) < count and run.poll() is None:
        time.sleep(0.005)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_stopped_run_is_resumed_and_repeats_nothing(tmp_path: Path, ending: signal.Signals) -> None:
    save_teacher(tmp_path / "model")
    cache, spec = tmp_path / "cache", TeacherSpec(model=str(tmp_path / "model"))
    with start(tmp_path / "model", cache) as run:
        wait_for_files(cache, 20, run)
        run.send_signal(ending)
        assert run.wait() in {-ending, 1}
    before = {path: path.stat().st_mtime_ns for path in cache.glob("*/*.safetensors")}
    assert 20 <= len(before) < len(MANY) // 2
    resumed = embed(MANY, spec, cache, batch_size=500, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(texts_on_disk(cache)) == len(set(texts_on_disk(cache))) == len(MANY)
    assert not list(cache.glob("*/*.part"))
    unbroken = embed(MANY[::50], spec, tmp_path / "other", device="cpu")
    np.testing.assert_allclose(resumed[::50], unbroken, atol=1e-5)


def test_second_process_waits_and_finds_the_work_done(tmp_path: Path) -> None:
    save_teacher(tmp_path / "model")
    cache = tmp_path / "cache"
    embed(["Cough."], TeacherSpec(model=str(tmp_path / "model")), cache, device="cpu")
    (lock,) = cache.glob("*/lock")
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with start(tmp_path / "model", cache) as run:
            assert run.stderr is not None
            assert "waiting: another process embeds reports into" in run.stderr.readline()
            assert len(texts_on_disk(cache)) == 1
            fcntl.flock(held, fcntl.LOCK_UN)
            run.communicate()
            assert run.returncode == 0
    assert len(texts_on_disk(cache)) == len(set(texts_on_disk(cache))) == 1 + len(MANY)


# The rest looks at the cache by itself, with made-up vectors.

TEXTS = [bytes([number]) * 32 for number in range(200)]


def fill(root: Path, numbers: range, width: int = 3, teacher: str = "a") -> None:
    cache = EmbeddingCache(root, {"model": teacher}, TEXTS)
    with cache.writing():
        for number in numbers:
            cache.add(TEXTS[number : number + 1], np.full((1, width), number, np.float32), [number])


def read(root: Path, teacher: str = "a") -> dict[bytes, list[float]]:
    return {text: row.vector.tolist() for text, row in EmbeddingCache(root, {"model": teacher}, TEXTS).rows.items()}


def test_what_was_added_is_read_again(tmp_path: Path) -> None:
    fill(tmp_path / "new" / "cache", range(4))
    fill(tmp_path / "new" / "cache", range(4, 6))
    assert read(tmp_path / "new" / "cache") == {TEXTS[number]: [number] * 3 for number in range(6)}
    assert read(tmp_path / "new" / "cache", "b") == {}
    some = EmbeddingCache(tmp_path / "new" / "cache", {"model": "a"}, TEXTS[2:3])
    assert {text: row.lost for text, row in some.rows.items()} == {TEXTS[2]: 2}


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    fill(tmp_path, range(1))
    (whole,) = tmp_path.glob("*/*.safetensors")
    whole.with_suffix(".part").write_bytes(whole.read_bytes()[:50])
    assert len(read(tmp_path)) == 1
    fill(tmp_path, range(1, 2))
    assert sorted(path.suffix for path in whole.parent.iterdir()) == ["", ".safetensors", ".safetensors"]


@pytest.mark.parametrize("length", [0, 50, -1, None])
def test_damaged_file_is_refused_until_it_is_deleted(tmp_path: Path, length: int | None) -> None:
    fill(tmp_path, range(3))
    path = sorted(tmp_path.glob("*/*.safetensors"))[1]
    content = path.read_bytes()
    # Cut short, or one bit of a number is another: it would be read without complaint.
    path.write_bytes(content[:length] if length is not None else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(TeacherError, match=f"{path}: is damaged .*; delete it and run again"):
        read(tmp_path)
    path.unlink()
    assert len(read(tmp_path)) == 2


def test_file_of_another_teacher_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, range(2))
    fill(tmp_path, range(2, 3), teacher="b")
    (other,) = EmbeddingCache(tmp_path, {"model": "b"}, TEXTS).folder.glob("*.safetensors")
    other.rename(EmbeddingCache(tmp_path, {"model": "a"}, TEXTS).folder / other.name)
    with pytest.raises(TeacherError, match=f"{other.name}: is damaged or of another teacher"):
        read(tmp_path)


def test_other_width_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, range(2))
    with pytest.raises(TeacherError, match="embeddings of 5 numbers beside others of 3; delete the folder"):
        fill(tmp_path, range(2, 3), width=5)
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/cache"])
def test_cache_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TeacherError, match=r"cannot be (written|read) \("):
        fill(tmp_path / name, range(1))


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    fill(tmp_path, range(1))
    (folder,) = tmp_path.iterdir()
    (folder / "folder.safetensors").mkdir()
    with pytest.raises(TeacherError, match=r"folder\.safetensors: cannot be read \(Is a directory\)"):
        read(tmp_path)


def test_full_disk_keeps_every_finished_batch(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the kernel refuses to write, in the middle of a file."""
    fill(tmp_path, range(2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(TeacherError) as caught:
            fill(tmp_path, range(2, 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written (File too large); the embeddings of 2 reports are kept; make room" in str(caught.value)
    assert not list(tmp_path.glob("*/*.part"))
    fill(tmp_path, range(2, 4))
    assert len(read(tmp_path)) == 4
