"""Train a student that a small board can run."""
