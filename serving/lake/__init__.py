"""Reading the lake: its tables at a manifest, as SQL views."""
