"""`dataflow doctor`: what this machine lacks, and what to do about it."""

from dataclasses import asdict

import click

from dataflow.options import examples, json_option, print_json, settings_option
from infra.doctor import Level, examine
from infra.settings import Settings

MARKS = {Level.OK: "ok   ", Level.WARN: "warn ", Level.BLOCK: "BLOCK"}


@click.command(epilog=examples("dataflow doctor", "dataflow doctor --json"))
@json_option
@settings_option
def command(settings: Settings, as_json: bool) -> None:
    """What is missing on this machine, and what to do. Exit code 1 if something blocks."""
    findings = examine(settings)
    blocked = sum(finding.level is Level.BLOCK for finding in findings)
    if as_json:
        print_json({"ready": not blocked, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            click.echo(f"{MARKS[finding.level]}  {finding.check:<10}  {finding.seen}")
            if finding.todo:
                click.echo(f"{'':<19}→ {finding.todo}")
        click.echo(f"\n{blocked} of {len(findings)} checks block" if blocked else "\nready")
    if blocked:
        click.get_current_context().exit(1)
