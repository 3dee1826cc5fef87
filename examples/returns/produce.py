"""Writes returns from a file of JSON lines straight into Kafka, unjudged, as a producer without the ingest does.

    python -m examples.returns.produce examples/returns/events/unjudged.jsonl

Reads the file and, for addresses, the settings; writes the topic `<env>.returns`.
"""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from infra.registry import schema_ids
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from sources.producer import EventProducer

settings = running_settings(Settings.load(), needs=("kafka_bootstrap_servers", "kafka_schema_registry"))
with EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, schema_ids(settings)) as producer:
    for line in Path(sys.argv[1]).read_text("utf-8").splitlines():
        parcel = json.loads(line)
        now = datetime.now(UTC)
        parcel["refund"] = Decimal(parcel.get("refund", "0"))
        parcel["announced_at"] = datetime.fromisoformat(parcel["announced_at"])
        # The version grows with each event of a parcel; the clock in µs does.
        change = {"event_id": str(uuid4()), "op": "c", "occurred_at": now, "source": "example"}
        producer.produce("returns", {**parcel, **change, "version": int(now.timestamp() * 1_000_000)})
