"""The corpora by name: for each, the adapter that reads the layout in which its users download it.

Where a corpus's split leaves no recording for validation, `list_corpus` holds out a tenth of the training groups, the
same on every machine, and notes it. A table is taken as written: who trains on it holds out a share of their own. Every
group begins with the corpus's name, so that rows of several corpora can be put together; a table's groups are as
written, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from align.corpora import (
    bmd_hs,
    circor,
    coswara,
    coughvid,
    covid19_sounds,
    hf_lung,
    icbhi,
    kauh,
    mmlung,
    nosemic,
    physionet2016,
    respiratory_tr,
    sprsound,
    ssbpr,
    table,
    uk_covid19,
    zchsound,
)
from align.corpora.reading import told
from align.corpora.recording import CorpusError, Listing
from align.corpora.splits import hold_out

ADAPTERS: dict[str, Callable[[Path], Listing]] = {
    bmd_hs.NAME: bmd_hs.read,
    circor.NAME: circor.read,
    coswara.NAME: coswara.read,
    coughvid.NAME: coughvid.read,
    covid19_sounds.NAME: covid19_sounds.read,
    hf_lung.NAME: hf_lung.read,
    icbhi.NAME: icbhi.read,
    kauh.NAME: kauh.read,
    mmlung.NAME: mmlung.read,
    nosemic.NAME: nosemic.read,
    physionet2016.NAME: physionet2016.read,
    respiratory_tr.NAME: respiratory_tr.read,
    sprsound.NAME: sprsound.read,
    ssbpr.NAME: ssbpr.read,
    table.NAME: table.read,
    uk_covid19.NAME: uk_covid19.read,
    zchsound.NAME: zchsound.read,
}

VALIDATION_SHARE, VALIDATION_SEED = 0.1, 0
"""Of the training groups, and the seed of their draw, where a corpus has no validation part; as in `splits.SHARES`."""


def list_corpus(name: str, root: Path) -> Listing:
    """What the corpus `name` lists under the folder `root`, with a validation part unless it is a table.

    Raises:
        CorpusError: no corpus has that name, `root` is not that corpus or cannot be read, or there is no recording in
            it.
    """
    if name not in ADAPTERS:
        raise CorpusError(f"no corpus is called {name}; there are {', '.join(ADAPTERS)}")
    with told(root):
        listing = ADAPTERS[name](root)
    if not listing.recordings:
        more = f"; the first problem: {listing.problems[0]}" if listing.problems else ""
        raise CorpusError(f"{root}: no recording of {name} in it{more}")
    return listing if name == table.NAME else _with_validation(listing)


def _with_validation(listing: Listing) -> Listing:
    """The listing, with training groups held out where no recording is in validation."""
    if any(row.split == "validation" for row in listing.recordings):
        return listing
    rows = hold_out(listing.recordings, VALIDATION_SHARE, VALIDATION_SEED)
    held = [row for row in rows if row.split == "validation"]
    groups = len({row.group for row in listing.recordings if row.split == "train"})
    note = (
        f"the split has no validation part: {len({row.group for row in held})} of {groups} training groups are held "
        f"out for it, {len(held)} recordings"
    )
    return replace(listing, recordings=rows, notes=[*listing.notes, note])
