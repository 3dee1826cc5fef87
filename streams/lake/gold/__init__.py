"""The gold tables' parts: each keeps one or two tables, at a cost that follows what a batch changes."""
