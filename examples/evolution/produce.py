"""Writes a hundred orders of one day with another schema, as a producer does that was changed before the platform.

    python -m examples.evolution.produce examples/evolution/orders-2.avsc

They are the same hundred each time. Reads the schema's file, the registry and, for addresses, the settings; writes the
topic `<env>.orders`.
"""

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import fastavro

from infra.registry import Registry, schema_ids, subject
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from sources.codec import HEADER, MAGIC
from sources.producer import EventProducer

ORDERS = 100
DAY = datetime(2026, 3, 3, tzinfo=UTC)


def order(n: int) -> dict:
    """An order as a record of the new schema holds it."""
    at = DAY + timedelta(minutes=n)
    times = dict.fromkeys(("order_date", "created_at", "updated_at", "occurred_at"), at)
    ids = {name: str(uuid5(NAMESPACE_URL, f"{name}/{n}")) for name in ("order_id", "event_id")}
    what = {"status": "placed", "total_amount": Decimal("12.50"), "payment_method": "card"}
    change = {"op": "c", "version": 1, "source": "example"}
    return {**ids, **times, **what, **change, "ship_to": "AT", "gift_note": "Happy birthday"}


settings = running_settings(Settings.load(), needs=("kafka_bootstrap_servers", "kafka_schema_registry"))
avro = json.loads(Path(sys.argv[1]).read_text("utf-8"))
registry = Registry(settings.kafka_schema_registry)
schema_id = registry.id_of(subject(settings, "orders"), avro)
registry.close()
if schema_id is None:
    sys.exit(
        f"expected {sys.argv[1]} in the registry, saw no such schema: `dataflow schemas register` it first"
    )
with EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, schema_ids(settings)) as producer:
    for event in map(order, range(ORDERS)):
        body = io.BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(avro), event)
        key = event["order_id"].encode()
        producer.produce_raw("orders", key, HEADER.pack(MAGIC, schema_id) + body.getvalue())
print(json.dumps({"orders": ORDERS, "gross": str(ORDERS * Decimal("12.50")), "schema_id": schema_id}))
