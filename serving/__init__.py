"""Serving: verdicts folded into Redis (`fold`, `materializer`), read from it (`read`), and given out (`api`)."""
