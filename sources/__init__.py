"""Everything that puts events into Kafka. Reads contracts, writes source topics."""
