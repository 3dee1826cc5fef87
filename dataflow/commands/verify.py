"""`dataflow verify`: the lake's tables computed again from bronze, one record after the other, and compared."""

import click

from dataflow.difference_text import documents, lines
from dataflow.options import examples, json_option, print_json, settings_option
from infra.registry import TopicSchemas
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from replay.verify.verify import Verdict, verify
from schemas.contract import CONTRACTS

NOT_EXACT = 1


@click.command(
    epilog=examples("dataflow verify", "dataflow verify --json | jq '.tables[] | select(.equal | not)'")
    + "\n\nExit code 0: every row is as it should be; 1: not, and which. The lake may be filled meanwhile: what is "
    "compared is its newest manifest."
)
@json_option
@settings_option
@click.pass_context
def command(ctx: click.Context, /, settings: Settings, as_json: bool) -> None:
    """Compute the lake again from its bronze tables, by plain Python, and compare row by row."""
    settings = running_settings(settings, needs=("kafka_bootstrap_servers", "kafka_schema_registry"))
    registry = TopicSchemas(settings)
    try:
        found = verify(settings, {topic: registry.of(topic) for topic in CONTRACTS})
    finally:
        registry.close()
    show(found, as_json)
    if not found.exact:
        ctx.exit(NOT_EXACT)


def show(found: Verdict, as_json: bool) -> None:
    tables, manifest = documents(found.differences), found.manifest
    records = sum(manifest.counts.values())
    if as_json:
        print_json(
            {
                "exact": found.exact,
                "generation": manifest.generation,
                "manifest": manifest.number,
                "records": records,
                "tables": tables,
            }
        )
        return
    for table in tables:
        click.echo("\n".join(lines(table)))
    verdict = "exact" if found.exact else "NOT exact"
    click.echo(f"\n{verdict}: manifest {manifest.number} of {manifest.generation}, {records:,} records")
