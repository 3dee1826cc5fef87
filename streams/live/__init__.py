"""The live path: one query that judges every source record within milliseconds."""
