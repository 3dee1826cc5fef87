"""The second computation: the lake's tables from its own bronze, by other code, compared row by row."""
