"""Replays over REST: how far each generation is, and `dataflow replay` for what changes something."""
