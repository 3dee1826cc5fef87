"""Push: one snapshot of the live numbers, read once and sent to every client as server-sent events."""
