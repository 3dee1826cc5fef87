"""`dataflow dlq redrive`: put dead letters back into their source topics, each exactly once.

Reads the dead letters and the registry; writes source topics and `<env>.events.redriven`.
"""

import sys

import click

from dataflow.code_of import by_the_code_of
from dataflow.letter_filters import letter_filters
from dataflow.options import examples, json_option, print_json, print_table, settings_option, yes_option
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from serving.dead_letters import Wanted
from serving.dead_letters.redrive import ALREADY, HOPELESS, LINE, LOST, UNKNOWN_TOPIC, Redrive, Redriver

LEFT = {
    ALREADY: "put back before",
    LINE: "lines of files: import the file again, what was accepted counts once",
    UNKNOWN_TOPIC: "their topic has no contract here, or not in this generation",
    LOST: "only a beginning was kept, and the source topic has the record no more",
    HOPELESS: "would be refused again: --all puts them back all the same",
}


@click.command(
    "redrive",
    epilog=examples(
        "dataflow dlq redrive --dry-run                     what would be put back, and what not",
        "dataflow dlq redrive --topic orders --reason unknown_schema_id",
        "dataflow dlq redrive --topic orders --partition 0 --offsets 1200-1300",
    ),
)
@letter_filters
@click.option("--all", "hopeless", is_flag=True, help="Also records that would be refused again.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@yes_option
@json_option
@settings_option
def redrive(
    settings: Settings, wanted: Wanted, hopeless: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Put refused records back into their source topics, now that what was wrong is mended.

    Each goes back once, however often this is run or killed: the record and the mark that it is back are one Kafka
    transaction. It is a new record; what its version or event id says decides what it changes. Without --all only those
    go back that would be accepted now.
    """
    settings = running_settings(settings, needs=("kafka_bootstrap_servers", "kafka_schema_registry"))
    by_the_code_of(settings, settings.dataflow_generation)
    with Redriver(settings) as redriver:
        plan = redriver.plan(wanted, hopeless=hopeless)
        if not as_json:
            _show(plan)
        if plan.ready and not dry_run:
            if not yes and not as_json and sys.stdin.isatty():
                click.confirm(f"Put {len(plan.ready):,} records back?", abort=True)
            redriver.run(plan)
    if as_json:
        print_json({**plan.as_json(), "dry_run": dry_run})
    elif dry_run:
        click.echo("\nNothing was changed. Without --dry-run they are put back.")
    elif plan.ready:
        click.echo(
            f"\n{plan.redriven:,} records are back in their topics; `dataflow watch` shows what becomes of them"
        )


def _show(plan: Redrive) -> None:
    click.echo(f"{plan.wanted:,} dead letters chosen, {len(plan.ready):,} to put back")
    rows = [(f"{n:,}", f"back to {topic}") for topic, n in sorted(plan.topics.items())]
    rows += [(f"{n:,}", LEFT[why]) for why, n in plan.left.most_common()]
    if rows:
        click.echo()
        print_table(("LETTERS", ""), rows)
    if plan.refused:
        click.echo()
        print_table(
            ("TOPIC", "STILL REFUSED FOR", "LETTERS"),
            ((topic, reason, f"{n:,}") for (topic, reason), n in plan.refused.most_common()),
        )
