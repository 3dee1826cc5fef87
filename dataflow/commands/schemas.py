"""`dataflow schemas`: the registered versions of each topic's schema, and whether another one would do.

Reads the registry; `register` writes it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import fastavro

from dataflow.code_of import by_the_code_of
from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.registry import Registry, TopicSchemas, subject
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.compatibility import record_of, same_fields
from schemas.contract import CONTRACTS
from schemas.errors import ContractError
from schemas.evolution import projection

schema_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
topic_option = click.option(
    "--topic",
    metavar="TOPIC",
    help='Its topic (default: what "dataflow.topic" in it says).',
)


@click.group(
    epilog=examples(
        "dataflow schemas list",
        "dataflow schemas check orders-2.avsc      would it do? exit code 1 if not",
        "dataflow schemas register orders-2.avsc   the running platform learns it by itself",
    )
)
def command() -> None:
    """The schemas that records are written with: which there are, and whether another one would do."""


@command.command("list", epilog=examples("dataflow schemas list --json"))
@json_option
@settings_option
def list_schemas(settings: Settings, as_json: bool) -> None:
    """Every registered version of each topic's schema, and whether the contract reads its records."""
    settings = _running(settings, surely=False)
    schemas = TopicSchemas(settings)
    try:
        rows = [
            {
                "topic": topic,
                "version": found.version,
                "id": found.schema_id,
                "fields": len(json.loads(found.avro).get("fields", ())),
                "objection": _objection(topic, json.loads(found.avro)),
            }
            for topic in CONTRACTS
            for found in schemas.of(topic)
        ]
    finally:
        schemas.close()
    if as_json:
        print_json({"schemas": rows})
        return
    print_table(
        ("TOPIC", "VERSION", "ID", "FIELDS", "ITS RECORDS"),
        (
            (row["topic"], row["version"], row["id"], row["fields"], row["objection"] or "are read")
            for row in rows
        ),
    )


@command.command("check", epilog=examples("dataflow schemas check orders-2.avsc --topic orders"))
@schema_file
@topic_option
@json_option
@settings_option
@click.pass_context
def check(ctx: click.Context, settings: Settings, file: Path, topic: str | None, as_json: bool) -> None:
    """Whether a schema may become the next version: for readers with it, and for the contract that runs now.

    Registers nothing. Exit code 1 if it may not.
    """
    settings = _running(settings)
    avro, topic = _read(file, topic)
    registry = Registry(settings.kafka_schema_registry)
    try:
        refused = registry.objections(subject(settings, topic), avro)
    finally:
        registry.close()
    unreadable = _objection(topic, avro)
    if as_json:
        print_json(
            {"topic": topic, "fits": not (refused or unreadable), "registry": refused, "contract": unreadable}
        )
    else:
        click.echo(f"{file.name} as the next version of {topic}:")
        click.echo("  readers with it read old records: " + ("no" if refused else "yes"))
        for reason in refused:
            click.echo(f"    {reason}")
        click.echo(
            "  the running contract reads its records: " + (f"no\n    {unreadable}" if unreadable else "yes")
        )
    if refused or unreadable:
        ctx.exit(1)


@command.command("register", epilog=examples("dataflow schemas register orders-2.avsc"))
@schema_file
@topic_option
@json_option
@settings_option
def register(settings: Settings, file: Path, topic: str | None, as_json: bool) -> None:
    """Make a schema the next version of its topic's. Refused, with the reason, if it could not read old records."""
    settings = _running(settings)
    avro, topic = _read(file, topic)
    if (unreadable := _objection(topic, avro)) is not None:
        raise ContractError(f"not registered, since all its records would be refused: {unreadable}")
    registry = Registry(settings.kafka_schema_registry)
    try:
        # The registry's own answer to a registration does not say why.
        if refused := registry.objections(subject(settings, topic), avro):
            raise ContractError(
                f"the registry refuses it as the next version of {topic}: {'; '.join(refused)}"
            )
        schema_id = registry.register(subject(settings, topic), avro)
        known = (record_of(each.avro) for each in registry.schemas(subject(settings, topic)))
        taken = any(same_fields(each, avro) for each in known if each)
    finally:
        registry.close()
    if as_json:
        print_json({"topic": topic, "id": schema_id, "registered": taken})
    elif not taken:
        click.echo(
            f"{topic}: the registry takes it for the one with id {schema_id}, from which it differs only in what "
            "that registry does not compare, as aliases: nothing was registered"
        )
    else:
        click.echo(
            f"{topic}: schema id {schema_id}; the live job learns it by itself, mostly within half a minute"
        )


def _running(settings: Settings, *, surely: bool = True) -> Settings:
    """Goes on by the contracts that the live generation was made by, where there is one and they are others.

    Unless it has to be `surely` so, it goes on by those that are here where nobody can say which they are.
    """
    settings = running_settings(settings, needs=("kafka_schema_registry",))
    if settings.kafka_bootstrap_servers:
        by_the_code_of(settings, surely=surely)
    return settings


def _read(file: Path, topic: str | None) -> tuple[Mapping[str, Any], str]:
    try:
        avro = json.loads(file.read_text("utf-8"))
        fastavro.parse_schema(avro)
    except Exception as error:  # fastavro has several kinds without a common root
        raise ContractError(
            f"{file}: expected an Avro schema as JSON: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(avro, dict) or avro.get("type") != "record" or not isinstance(avro.get("fields"), list):
        raise ContractError(f"{file}: expected the Avro schema of a record with fields, saw {avro!r:.80}")
    topic = topic or avro.get("dataflow.topic")
    if not isinstance(topic, str) or topic not in CONTRACTS:
        raise click.UsageError(
            f'{file}: expected "dataflow.topic" to be one of {", ".join(CONTRACTS)}, saw {topic!r}; or give --topic'
        )
    return avro, topic


def _objection(topic: str, avro: Mapping[str, Any]) -> str | None:
    """Why the contract cannot read records of a schema; None if it can."""
    try:
        projection(CONTRACTS[topic], avro)
    except ContractError as error:
        return str(error)
    return None
