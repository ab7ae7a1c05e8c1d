"""What every training does with its output folder and its weights, whichever task it has."""

from __future__ import annotations

import csv
import errno
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from align.files import write_whole
from edge.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def claim(output: Path, settings: str, may_change: tuple[str, ...]) -> None:
    """Make the output folder, or find in it a training with the same settings, and leave `settings.toml` there.

    A training that went on under other ones, say with people whom it has already heard held out, would tell untruths.

    Args:
        output: the folder.
        settings: as TOML.
        may_change: settings that may differ between the stop and the resumption of a training.

    Raises:
        UserError: it cannot be written, or holds a training with other settings.
    """
    path = output / "settings.toml"
    free = tuple(f"{name} " for name in may_change)
    try:
        output.mkdir(parents=True, exist_ok=True)
        if (output / "last.ckpt").is_file() and path.is_file():
            before, now = (
                {line for line in text.splitlines() if not line.startswith(free)}
                for text in (path.read_text(encoding="utf-8"), settings)
            )
            if before != now:
                changed = ", ".join(sorted({line.partition(" ")[0] for line in before ^ now}))
                raise UserError(f"{output} holds a training with another {changed}; name another --output or remove it")
        write_whole(path, settings)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); name another --output") from error


@contextmanager
def telling_of_full_disk(output: Path) -> Iterator[None]:
    """Tell in one line that there was no room for a log, a plot or a figure of a training.

    Raises:
        UserError: that was so.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(
            f"{output}: cannot be written ({error.strerror}); free some space and run the same command again: it goes "
            "on from the last checkpoint"
        ) from error


def join_logs(output: Path, by: str) -> Path:
    """Join what Lightning logged at every start into `metrics.csv`, and return its path.

    Args:
        output: the folder of the training.
        by: column of which every value gives one row: `epoch` or `step`.

    Raises:
        OSError: it cannot be written.
    """
    joined: dict[int, dict[str, str]] = defaultdict(dict)
    for log in sorted((output / "log").glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name[8:])):
        with log.open(newline="") as stream:
            for row in csv.DictReader(stream):
                joined[int(row[by])] |= {name: value for name, value in row.items() if value}
    others = {name for row in joined.values() for name in row} - {"epoch", "step"}
    table = io.StringIO()
    # A step lies in one epoch, an epoch ends at one step.
    writer = csv.DictWriter(table, ["epoch", "step", *sorted(others)])
    writer.writeheader()
    writer.writerows(row for _, row in sorted(joined.items()))
    write_whole(output / "metrics.csv", table.getvalue())
    return output / "metrics.csv"


def moving_average(longest: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Exponential moving average of weights with the decay `longest`; short at first, lest it keep random weights."""

    def average(mean: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        decay = min(longest, (1.0 + float(updates)) / (10.0 + float(updates)))
        return mean * decay + current * (1.0 - decay)

    return average
