"""The API: REST under /v1, push (SSE), probes, Prometheus, and the page. `python -m serving.api` runs it.

Reads Redis (the live state), Kafka (generation, log ends) and the registry; writes source topics (the ingest) and, in
Redis, nothing but the versions that the ingest gives.
"""
