"""Corpora: one adapter a file, each giving `Recording` rows."""

from align.corpora.recording import CorpusError, Recording
from align.corpora.splits import hold_out
from align.corpora.table import read_table

__all__ = ["CorpusError", "Recording", "hold_out", "read_table"]
