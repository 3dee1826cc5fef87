"""Spark Structured Streaming jobs. Reads source topics, writes what is derived from them."""
