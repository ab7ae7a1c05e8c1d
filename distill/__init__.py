"""Shrink an encoder to a student that a small board can run."""
