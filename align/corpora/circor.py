"""CirCor DigiScope, training data (PhysioNet 2022 challenge 1.0.3, ODC-By 1.0): children's hearts at 4 kHz.

Layout: `training_data/<child>.txt` and `<child>_<place>[_n].{wav,hea,tsv}`, places AV, PV, TV, MV, Phc. The text begins
with the number of recordings and the rate, then a line each recording, then `#Name: value`.

Split: the challenge's validation and test are not public; here by child, in proportion to the murmur. Some children
came to two campaigns (`Additional ID`) and are one group. Labels: `murmur` (of the child: present, absent, unknown),
`outcome`, and `murmur_here`, whether it was heard at this place. Figures are per child, over the places.
"""

from __future__ import annotations

import re
from pathlib import Path

from align.corpora.reading import audio_files, find, known, named
from align.corpora.recording import Listing, Recording
from align.corpora.splits import split_by_group

NAME = "circor"
FILE = re.compile(r"(\d+)_(AV|PV|TV|MV|Phc)(?:_\d+)?", re.IGNORECASE)


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    folder = find(root, NAME, "training_data")
    problems: list[str] = []
    files = list(named(audio_files(folder), FILE, problems))
    children = {path.stem: _about(path) for path in sorted(folder.glob("*.txt")) if path.stem.isdecimal()}
    pairs = [(child, about.get("additional_id", "")) for child, about in children.items()]
    # Of the two numbers of a child who came twice the smaller one, whichever of the two texts names the other.
    twin = {max(pair, key=int): min(pair, key=int) for pair in pairs if pair[1].isdecimal()}
    recordings = []
    for path, (child, place) in files:
        if child not in children:
            problems.append(f"{path}: no {child}.txt beside it")
            continue
        about = dict(children[child])
        murmur, outcome = about.pop("murmur", "").casefold(), about.pop("outcome", "").casefold()
        heard_at = about.get("murmur_locations", "").casefold().split("+")
        here = {"present": str(int(place.casefold() in heard_at)), "absent": "0"}.get(murmur)
        labels = {name: value for name, value in (("murmur", murmur), ("outcome", outcome)) if value}
        recordings.append(
            Recording(
                path=path,
                corpus=NAME,
                group=f"{NAME}:{twin.get(child, child)}",
                split="train",
                modality="heart",
                event="heart",
                licence="ODC-By-1.0",
                metadata=about | {"site": place.upper()},
                labels=labels | ({"murmur_here": here} if here else {}),
            )
        )
    heard = {child for _, (child, _) in files}
    problems += [f"{folder / child}.txt: no recording of this child" for child in children.keys() - heard]
    return Listing(split_by_group(recordings, "murmur"), sorted(problems))


def _about(path: Path) -> dict[str, str]:
    """What a child's text says after `#`, in lower-case names with underscores; `Unknown` is a murmur's own class."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line[1:].split(":", 1) for line in lines if line.startswith("#") and ":" in line]
    about = {name.strip().casefold().replace(" ", "_"): value.strip() for name, value in pairs}
    murmur = about.get("murmur", "")
    return known(about) | ({"murmur": murmur} if murmur else {})
