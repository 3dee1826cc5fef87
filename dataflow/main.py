"""The command `dataflow`: finds the subcommand, turns errors into one message and an exit code.

A subcommand is one module of `dataflow/commands/` with a click command named `command`, listed in COMMANDS. It is
imported when it is used, so that `dataflow status` does not wait for what only `dataflow import` needs.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword

import click

from infra.entry import EXIT_TRANSIENT
from infra.runtime.errors import NotRunning
from schemas.errors import DataflowError, Unavailable

# Name → what `dataflow --help` says about it; the module is dataflow.commands.<name>.
COMMANDS = {
    "up": "Start everything and stay in the foreground; Ctrl-C stops it.",
    "status": "What runs, and how it fares.",
    "produce": "Events of a made-up shop, at a rate or as a history.",
    "import": "Files to events, by a mapping; every line accounted for.",
    "watch": "The live numbers, as they change.",
    "metrics": "What is measured, and its rows.",
    "dlq": "The dead letters: what was refused, and why.",
    "tables": "The lake's tables: sizes, columns, rows.",
    "lake": "What the lake's operator may have to do.",
    "replay": "Run the topics through the code again beside the live numbers, see the difference, cut over.",
    "verify": "Compute the lake again by another road, and compare.",
    "schemas": "Which schemas records are written with, and whether another would do.",
    "topics": "The Kafka topics of this environment.",
    "generation": "What the live numbers are a function of; start over.",
    "reset": "Remove everything this environment keeps.",
    "doctor": "What is missing on this machine, and what to do.",
}

OK, FAILED, USAGE, NOT_RUNNING, TRY_AGAIN, INTERRUPTED = 0, 1, 2, 3, EXIT_TRANSIENT, 130

EPILOG = """\b
Examples:
  dataflow up --demo               start with a demo load, then open the URL
  dataflow status                  processes, lag, freshness, exactness
  dataflow watch                   the live numbers, as they change
  dataflow metrics revenue --by payment_method
  dataflow dlq list                what was refused, and why
  dataflow --env import up         another environment, apart from the demo
  dataflow topics --json

\b
Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not running, 75 a service does not answer now.
Settings come from the environment and .env; .env.example explains each.
Help for one command: dataflow COMMAND --help
"""


class Commands(click.Group):
    """The subcommands of COMMANDS, each imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # A module cannot be named like a keyword: `import` is import_.py.
        module = cmd_name + "_" if iskeyword(cmd_name) else cmd_name
        return import_module(f"dataflow.commands.{module}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From COMMANDS, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--env", metavar="NAME", help="The environment (default: DATAFLOW_ENV, else demo).")
@click.pass_context
def cli(ctx: click.Context, env: str | None) -> None:
    """DataFlow: events in, exact live numbers out."""
    ctx.obj = env


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    try:
        return cli.main(args=args, prog_name="dataflow", standalone_mode=False) or OK
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except DataflowError as error:
        click.echo(f"Error: {error}", err=True)
        if isinstance(error, NotRunning):
            return NOT_RUNNING
        # Not its kinds: that there is no lake yet is an answer.
        return TRY_AGAIN if type(error) is Unavailable else FAILED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python would complain again when it flushes at exit.
        sys.stdout = None
        return OK
    except OSError as error:  # a full disk, a directory that is not there or nobody's
        click.echo(
            f"Error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True
        )
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
