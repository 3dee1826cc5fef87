"""Replay and proof: what is computed again, and how it compares with what is shown."""
