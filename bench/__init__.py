"""Measurements: programs that print figures, with intervals and baselines beside them. No test depends on them."""
