"""The REST ingest: JSON documents to typed events, judged by their contract, given a version, put into Kafka."""
