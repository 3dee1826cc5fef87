"""`dataflow topics`: the Kafka topics of an environment, with offsets, records and what is configured."""

from typing import Any

import click
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, ResourceType

from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.kafka import TIMEOUT, admin, log_bounds
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.errors import Unavailable


@click.command(epilog=examples("dataflow topics", "dataflow topics --json | jq '.topics[].records'"))
@click.option(
    "--all", "all_topics", is_flag=True, help="Topics of other environments and of Kafka itself too."
)
@json_option
@settings_option
def command(settings: Settings, as_json: bool, all_topics: bool) -> None:
    """The Kafka topics of this environment: partitions, offsets, records, configuration."""
    settings = running_settings(settings, needs=("kafka_bootstrap_servers",))
    topics = describe(admin(settings.kafka_bootstrap_servers), "" if all_topics else settings.topic_prefix)
    if as_json:
        print_json({"bootstrap_servers": settings.kafka_bootstrap_servers, "topics": topics})
        return
    print_table(
        ("TOPIC", "PARTITIONS", "START", "END", "RECORDS", "CONFIG"),
        (
            (
                topic["name"],
                len(topic["partitions"]),
                sum(p["start"] for p in topic["partitions"]),
                sum(p["end"] for p in topic["partitions"]),
                topic["records"],
                " ".join(f"{key}={value}" for key, value in topic["config"].items()),
            )
            for topic in topics
        ),
    )


def describe(client: AdminClient, prefix: str) -> list[dict[str, Any]]:
    """Every topic whose name starts with `prefix`, with what was configured for it alone.

    `records` is end − start: in a topic written by transactions, or compacted, some offsets hold no record.
    """
    try:
        metadata = client.list_topics(timeout=TIMEOUT).topics
        names = sorted(name for name in metadata if name.startswith(prefix))
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        configs = client.describe_configs(resources, request_timeout=TIMEOUT) if resources else {}
        own = {resource.name: _own_config(future.result(TIMEOUT)) for resource, future in configs.items()}
    except KafkaException as error:
        raise Unavailable(f"the broker does not describe its topics: {error.args[0].str()}") from error
    partitions = [(name, partition) for name in names for partition in sorted(metadata[name].partitions)]
    start, end = log_bounds(client, partitions) if partitions else ({}, {})
    return [
        {
            "name": name,
            "partitions": [
                {"partition": p, "start": start[name, p], "end": end[name, p]}
                for each, p in partitions
                if each == name
            ],
            "records": sum(end[key] - start[key] for key in partitions if key[0] == name),
            "config": own[name],
        }
        for name in names
    ]


def _own_config(entries: dict[str, Any]) -> dict[str, str]:
    source = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {name: entry.value for name, entry in sorted(entries.items()) if entry.source == source}
