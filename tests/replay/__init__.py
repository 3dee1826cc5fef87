"""The second computation: that it says what is wrong, and only that."""
