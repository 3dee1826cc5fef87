"""The lake: the source topics as bronze, silver and gold Delta tables, in batches that end with a manifest."""
