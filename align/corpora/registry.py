"""The corpora by name: for each, the adapter that reads the layout in which its users download it.

A corpus whose split has no validation part gets one by `align.corpora.hold_out`. Every group begins with the corpus's
name, so that rows of several corpora can be put together; a table's groups are as written.
"""

from __future__ import annotations

from collections.abc import Callable
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
from align.corpora.recording import CorpusError, Listing

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


def list_corpus(name: str, root: Path) -> Listing:
    """What the corpus `name` lists under the folder `root`.

    Raises:
        CorpusError: no corpus has that name, `root` is not that corpus, or there is no recording in it.
    """
    if name not in ADAPTERS:
        raise CorpusError(f"no corpus is called {name}; there are {', '.join(ADAPTERS)}")
    listing = ADAPTERS[name](root)
    if not listing.recordings:
        more = f"; the first problem: {listing.problems[0]}" if listing.problems else ""
        raise CorpusError(f"{root}: no recording of {name} in it{more}")
    return listing
