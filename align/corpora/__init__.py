"""Corpora: one adapter a file, each giving `Recording` rows; `registry` has them by name."""

from align.corpora.recording import CorpusError, Listing, Recording
from align.corpora.splits import hold_out
from align.corpora.table import read_table

__all__ = ["CorpusError", "Listing", "Recording", "hold_out", "read_table"]
