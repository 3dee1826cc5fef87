"""The fold: what a run of verdicts changes in a generation's state. Pure; derived from the metrics' declarations."""
