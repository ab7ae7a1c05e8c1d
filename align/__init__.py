"""What every stage of training shares: corpora, audio, channel simulation, reports, statistics."""
