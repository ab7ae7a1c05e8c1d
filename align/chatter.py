"""Silences what Lightning says of its own matters; what it says of devices and precision stays.

Imports no Lightning, so that a program may ask for it before it has read its settings.
"""

from __future__ import annotations

import logging
import warnings

ADVICE = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*exists and is not empty.*",
    ".*LeafSpec.* is deprecated.*",
)
"""Warnings of which a user of ours can make nothing: one process that cuts clips is meant, a folder is resumed from."""


def hush_lightning() -> None:
    """Silence it in this process."""
    for message in ADVICE:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_tip)


def _no_tip(record: logging.LogRecord) -> bool:
    return "Tip: " not in record.getMessage()
