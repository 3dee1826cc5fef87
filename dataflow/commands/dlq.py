"""`dataflow dlq`: the dead letters of the generation that is served, and of imports; personal data only if asked for.

Reads `<env>.g1.events.dead_letter`, `<env>.events.dead_letter` and, to decode, the registry.
"""

from difflib import get_close_matches

import click

from dataflow.code_of import by_the_code_of
from dataflow.commands.dlq_redrive import redrive
from dataflow.letter_filters import letter_filters
from dataflow.letter_text import letter_lines
from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.errors import DataflowError, Terminal
from serving.dead_letters import (
    LetterTopics,
    Originals,
    Wanted,
    content_of,
    copies_of,
    letter_document,
    newest,
    read_letters,
    served_letters,
    summarize,
    summary_rows,
)
from serving.dead_letters.filters import known_reasons
from serving.read.reader import iso_micros

LIMIT = 20


class NoSuchLetter(DataflowError, Terminal):
    """The id names no dead letter."""


@click.group(
    epilog=examples(
        "dataflow dlq list                 the newest 20",
        "dataflow dlq list --summary       how many, by topic and reason",
        "dataflow dlq show orders/0/1234   one, with its record decoded",
        "dataflow dlq redrive --dry-run    what could be put back",
    )
)
def command() -> None:
    """The dead letters: records and lines that were refused, each with its reasons and original bytes."""


command.add_command(redrive)


@command.command(
    "list",
    epilog=examples(
        "dataflow dlq list --since 1h",
        "dataflow dlq list --topic orders --reason total_amount_minimum --limit 100",
        "dataflow dlq list --topic import:online-retail --summary",
        "dataflow dlq list --json | jq -r '.letters[].id'",
    ),
)
@letter_filters
@click.option(
    "--limit", type=click.IntRange(min=1, max=100_000), default=LIMIT, show_default=True, help="At most N."
)
@click.option("--summary", is_flag=True, help="Not the letters, but how many by topic and reason.")
@json_option
@settings_option
def list_letters(
    settings: Settings,
    wanted: Wanted,
    limit: int,
    summary: bool,
    as_json: bool,
) -> None:
    """The newest dead letters of the live generation and of imports, newest first. Repeats are shown once."""
    settings = running_settings(settings, needs=("kafka_bootstrap_servers",))
    topics = served_letters(settings)
    if summary:
        _show_summary(settings, topics, wanted, as_json)
        return
    letters, more = newest(lambda: read_letters(settings, topics), wanted, limit)
    if as_json:
        found = [letter.as_json() for letter in letters]
        print_json({"generation": topics.generation, "letters": found, "more": more})
        return
    if not letters:
        click.echo(f"environment {settings.dataflow_env} has no such dead letters" + _did_you_mean(wanted))
        return
    print_table(
        ("ID", "TAKEN", "REASONS", "BYTES"),
        (
            (each.id, iso_micros(each.time), ", ".join(each.reasons), f"{each.size:,}" + "+" * each.truncated)
            for each in letters
        ),
    )
    notes = [f"the newest {limit:,}, there are more: --limit, --since, --summary"] if more else []
    notes += ["+ not all bytes are kept"] if any(each.truncated for each in letters) else []
    click.echo("\n" + "\n".join([*notes, f"dataflow dlq show {letters[0].id}   tells all about one"]))


def _did_you_mean(wanted: Wanted) -> str:
    known = known_reasons(wanted.topic)
    if wanted.reason is None or wanted.reason in known:
        return ""
    near = get_close_matches(wanted.reason, known, 3)
    told = f"did you mean {' or '.join(near)}?" if near else f"rules of now are {', '.join(known)}"
    return f", and no rule of now is called {wanted.reason}; {told}"


def _show_summary(settings: Settings, topics: LetterTopics, wanted: Wanted, as_json: bool) -> None:
    total, counts = summarize(read_letters(settings, topics), wanted)
    rows = summary_rows(counts)
    if as_json:
        print_json({"generation": topics.generation, "letters": total, "summary": rows})
        return
    click.echo(
        f"{total:,} dead letters in environment {settings.dataflow_env}, generation {topics.generation}"
    )
    if rows:
        click.echo()
        print_table(
            ("TOPIC", "REASON", "LETTERS", "MEANING"),
            ((row["source_topic"], row["reason"], f"{row['letters']:,}", row["description"]) for row in rows),
        )
    if sum(counts.values()) > total:
        click.echo("\nA letter with several reasons counts under each.")


@command.command(
    "show",
    epilog=examples(
        "dataflow dlq show orders/0/1234",
        "dataflow dlq show 'orders.csv:17'            a line of an imported file",
        "dataflow dlq show orders/0/1234 --bytes      all bytes, personal data included",
    ),
)
@click.argument("letter_id", metavar="ID")
@click.option("--bytes", "all_bytes", is_flag=True, help="The original bytes, which may hold personal data.")
@json_option
@settings_option
def show(settings: Settings, letter_id: str, all_bytes: bool, as_json: bool) -> None:
    """Everything about one dead letter: reasons, place, and the record decoded as far as it can be.

    Personal data is masked, and of bytes that cannot be decoded only the first 16 are shown, or the header where the
    topic has personal data, unless --bytes is given.
    What a letter does not keep, because the record was too large, --bytes reads from the source topic or from bronze.
    """
    settings = running_settings(settings, needs=("kafka_bootstrap_servers",))
    by_the_code_of(settings, settings.dataflow_generation, surely=False)
    topics = served_letters(settings)
    copies = copies_of(settings, topics, letter_id)
    if not copies:
        raise NoSuchLetter(
            f"generation {topics.generation} of environment {settings.dataflow_env!r} has no dead letter "
            f"{letter_id!r}. Expected an id such as "
            "orders/0/1234 (topic/partition/offset) or file:line; `dataflow dlq list` shows them."
        )
    letter, whole = copies[-1], None
    if all_bytes and letter.truncated and not letter.is_import:
        try:
            with Originals(settings) as originals:
                whole = originals.whole(letter)
        except DataflowError as error:
            click.echo(f"only what the letter keeps can be shown: {error}", err=True)
    document = letter_document(letter, copies, content_of(settings, whole or letter), all_bytes, whole)
    if as_json:
        print_json(document)
    else:
        click.echo("\n".join(letter_lines(document, all_bytes)))
