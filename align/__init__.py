"""Align an audio encoder with a frozen language teacher: corpora, audio, statistics."""
