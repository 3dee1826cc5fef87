"""Everything that puts events into Kafka: generator, file import, REST ingest. Reads contracts, writes source topics."""
