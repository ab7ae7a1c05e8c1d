"""Archives: what is packed comes out again, and nothing but plain files of one folder ever does."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import UpdateError
from edge.update.archive import MAX_FILES, pack, unpack

LIMIT = 1_000_000


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "room"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    (folder / "encoder.onnx").write_bytes(bytes(range(256)) * 9)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"x", **pax: str
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    return info, content


def tar_of(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if info.type == tarfile.REGTYPE else None)
    return stream.getvalue()


def extension(kind: bytes, content: bytes) -> bytes:
    """A header that says something of the next one, and its content."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = kind, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content.ljust(-(-len(content) // 512) * 512, b"\0")


def with_record(key: str, value: str, after: bytes) -> bytes:
    """An archive whose first member has a pax record that Python would not write by itself."""
    text = f" {key}={value}\n"
    length = len(text) + 2
    return extension(tarfile.XHDTYPE, f"{length}{text}".encode()) + after


def zip_of(stream: io.BytesIO, content: bytes) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as arrays:
        arrays.writestr("a.npy", content)


def with_size(size: bytes) -> bytes:
    """One file whose header tells this size, with a checksum that holds."""
    block = bytearray(tar_of(member("manifest.json"))[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


def with_sparse_content() -> bytes:
    """One file whose records say that its content begins with numbers, which it does not."""
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    return extension(tarfile.XHDTYPE, records) + FILE


def with_chain_in_folder() -> bytes:
    """A folder that tells of content, in which a chain of headers hides."""
    chain = extension(tarfile.GNUTYPE_LONGNAME, b"a") * 5000
    folder = tarfile.TarInfo("room")
    folder.type, folder.size = tarfile.DIRTYPE, len(chain)
    return folder.tobuf(tarfile.USTAR_FORMAT) + chain + FILE


def test_packed_bundle_comes_out_as_it_was(bundle: Path, tmp_path: Path) -> None:
    unpack(pack(bundle, tmp_path / "room.tar"), tmp_path / "out", max_bytes=LIMIT)
    assert contents(tmp_path / "out") == contents(bundle)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o600}


def test_archive_depends_on_names_and_contents_alone(bundle: Path, tmp_path: Path) -> None:
    first = pack(bundle, tmp_path / "first.tar").read_bytes()
    for path in bundle.iterdir():
        os.utime(path, (1.5, 1.5))
        path.chmod(0o640)
    assert pack(bundle, tmp_path / "second.tar").read_bytes() == first


def test_folder_with_another_folder_in_it_is_not_packed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "deep").mkdir()
    with pytest.raises(UpdateError, match="deep: is no file of a bundle"):
        pack(bundle, tmp_path / "room.tar")
    assert not list(tmp_path.glob("room.tar*"))


@pytest.mark.parametrize("arguments", [["room"], ["./room"], ["-C", "room", "."], ["--format=pax", "room"]])
def test_archive_of_the_tar_program_is_taken(bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    subprocess.run(["tar", "-cf", "room.tar", *arguments], cwd=bundle.parent, check=True)
    unpack(tmp_path / "room.tar", tmp_path / "out", max_bytes=LIMIT)
    assert contents(tmp_path / "out") == contents(bundle)


FILE = tar_of(member("manifest.json"))
HOSTILE: dict[str, tuple[bytes, str]] = {
    "absolute": (tar_of(member("/tmp/evil")), "lies outside"),
    "above": (tar_of(member("../evil")), "lies outside"),
    "above by way of a folder": (tar_of(member("room/../../evil")), "lies outside"),
    "deep": (tar_of(member("room/deep/evil")), "too deep"),
    "deep folder": (tar_of(member("room/deep", tarfile.DIRTYPE)), "too deep"),
    "two folders": (tar_of(member("a/manifest.json"), member("b/manifest.json")), "in a second folder"),
    "symbolic link": (tar_of(member("manifest.json", tarfile.SYMTYPE)), "a symbolic link"),
    "hard link": (tar_of(member("manifest.json", tarfile.LNKTYPE)), "a hard link"),
    "device": (tar_of(member("manifest.json", tarfile.BLKTYPE)), "a device"),
    "pipe": (tar_of(member("manifest.json", tarfile.FIFOTYPE)), "a pipe"),
    "contiguous": (tar_of(member("manifest.json", tarfile.CONTTYPE)), "of an unknown kind"),
    "sparse": (tar_of(member("manifest.json", tarfile.GNUTYPE_SPARSE)), "a sparse file"),
    "twice": (tar_of(member("a.onnx"), member("a.onnx")), "'a.onnx' twice"),
    "hidden": (tar_of(member(".bashrc")), "no name of a bundle's file"),
    "line break": (tar_of(member("a\nERROR all is lost")), r"'a\\nERROR all is lost'"),
    "no name": (tar_of(member("room/.")), "no name of a bundle's file|too deep"),
    "long name": (tar_of(member("a" * 200), format=tarfile.GNU_FORMAT), "a name longer than any"),
    "long name by record": (tar_of(member("a" * 200)), "headers that no bundle needs"),
    "another name by record": (with_record("path", "../../evil.sh", FILE), "headers that no bundle needs"),
    "another size by record": (with_record("size", "9999999999", FILE), "headers that no bundle needs|cut short"),
    "sparse by record": (with_record("GNU.sparse.map", "0,1,9,1", FILE), "headers that no bundle needs"),
    "sparse by a record without numbers": (with_record("GNU.sparse.map", "a,b", FILE), "headers that no bundle needs"),
    "sparse by its content": (with_sparse_content(), "headers that no bundle needs"),
    "header for all": (extension(tarfile.XGLTYPE, b"11 path=x\n") + FILE, "a header for all files"),
    "headers in a chain": (extension(tarfile.XHDTYPE, b"12 a=123456\n") * 5000 + FILE, "headers longer than any"),
    "headers in a chain within a folder": (with_chain_in_folder(), "a folder with content"),
    "endless number": (extension(tarfile.XHDTYPE, b"9" * 16_000 + b" a=b") + FILE, "no .tar file"),
    "endless header": (extension(tarfile.XHDTYPE, b"9" * 100_000) + FILE, "headers longer than any"),
    "too many files": (tar_of(*(member(f"a{i}") for i in range(MAX_FILES + 1))), f"more than {MAX_FILES} files"),
    "too large": (tar_of(member("a", content=bytes(LIMIT + 1))), "more than update.max_mb = 1"),
    "larger than itself": (with_size(b"77777777777\0"), "cut short"),
    "negative size": (with_size(b"\xff" * 12), "cut short"),
    "cut short": (FILE[:700], "cut short"),
    "without its end": (FILE[:1024], "cut short"),
    "compressed": (gzip.compress(FILE), "no .tar file"),
    "noise": (b"\x07" * 2048, "no .tar file"),
    "empty": (b"", "no .tar file"),
}


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archive_is_refused_in_one_line_and_writes_nowhere_else(
    tmp_path: Path, content: bytes, told: str
) -> None:
    archive = tmp_path / "deep" / "er" / "room.tar"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(content)
    with pytest.raises(UpdateError, match=told) as refusal:
        unpack(archive, archive.parent / "out", max_bytes=LIMIT)
    assert "\n" not in str(refusal.value)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "out"]
    assert outside == [archive]
    assert all(path.is_file() and not path.is_symlink() for path in archive.parent.glob("out/*"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda stream: zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED).writestr("a.npy", bytes(20 * LIMIT)),
            "grows",
        ),
        (lambda stream: stream.write(b"PK nothing"), "no array file"),
    ],
)
def test_array_file_that_would_swallow_the_memory_is_refused(
    tmp_path: Path, make: Callable[[io.BytesIO], object], told: str
) -> None:
    stream = io.BytesIO()
    make(stream)
    (tmp_path / "room.tar").write_bytes(tar_of(member("golden.npz", content=stream.getvalue())))
    with pytest.raises(UpdateError, match=told):
        unpack(tmp_path / "room.tar", tmp_path / "out", max_bytes=LIMIT)
