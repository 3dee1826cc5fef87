"""The materializer: verdicts from the judged topic, folded, into Redis, each exactly once."""
