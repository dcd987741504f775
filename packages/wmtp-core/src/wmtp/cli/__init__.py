"""The `wmtp` command: the table of commands, and how errors end.

A command's module is imported when the command runs, or when its own ``--help`` is asked for; the table below is all
that ``wmtp --help`` reads. Each module exposes its click command as `command`, and finds the plugins in the
`wmtp.cli.session.Session` that ``@click.pass_obj`` gives it. A command returns its exit status, or ``None`` for 0.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wmtp.cli.session import Session

COMMANDS: dict[str, tuple[str, str]] = {
    "eval": ("wmtp.cli.eval", "Evaluate a model: CONFIG says where things are, RECIPE what to run."),
    "score": ("wmtp.cli.score", "Judge samples that are already written, and report their metrics."),
    "compare": ("wmtp.cli.compare", "Say whether one run is better than another, and what would settle it."),
    "report": ("wmtp.cli.report", "Write report.html of a run, or of several beside one another."),
    "metrics": ("wmtp.cli.metrics", "List the metrics that the installed plugins answer for."),
    "plugins": ("wmtp.cli.plugins", "List plugins: their state, and what each provides."),
    "config": ("wmtp.cli.config", "Check, describe or migrate configuration files."),
    "fetch": ("wmtp.cli.fetch", "Bring a model or a data set to this machine ahead of time."),
    "upload": ("wmtp.cli.upload", "Put a run directory or a checkpoint into the storage."),
    "convert": ("wmtp.cli.convert", "Convert Meta's checkpoints to transformers format."),
    "cache": ("wmtp.cli.cache", "List, verify or prune what has been downloaded."),
    "doctor": ("wmtp.cli.doctor", "Say what sandbox, GPU, storage and hub can do here."),
}
"""Command → the module that holds it, and its one line of help."""

RESUMABLE = {"eval", "score", "fetch", "upload"}
"""Commands that go on where they stopped when they are started again."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return with_common_options(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The commands are {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def with_common_options(command: click.Command) -> click.Command:
    """Gives a command, or every command of a group, ``--no-plugin`` and ``--debug``."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            with_common_options(inner)
    elif not any(p.name == "debug" for p in command.params):
        command.params += _common_options()
    return command


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--no-plugin"], multiple=True, metavar="DIST", expose_value=False, callback=_block,
            help="Leave out this distribution's plugin; it is not imported. May be repeated.",
        ),
        click.Option(["--debug"], is_flag=True, expose_value=False, callback=_debug, help="Show tracebacks."),
    ]  # fmt: skip


def _block(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    _session(ctx).blocked.extend(value)


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    _session(ctx).debug |= value


def _session(ctx: click.Context) -> Session:
    from wmtp.cli.session import Session

    return ctx.ensure_object(Session)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from wmtp import __version__

        click.echo(f"wmtp {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Evaluate multi-token-prediction code models.

    Data goes to stdout, everything else to stderr. Exit status: 0 done, 1 incomplete or our fault, 2 your input.
    """
    _session(ctx)


command.params += _common_options()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script. Returns the exit status; never lets an exception out."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    try:
        status = command.main(arguments, prog_name="wmtp", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return _interrupted(arguments)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except BrokenPipeError:
        # The reader of our stdout (`| head`) has left. Python would complain once more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as exc:  # noqa: BLE001  (the one place where whatever went wrong becomes an exit status)
        from wmtp.cli.session import report_error

        return report_error(exc, debug="--debug" in arguments, resumable=_resumable(arguments))
    return status if isinstance(status, int) else 0


def _prepare_streams() -> None:
    """Makes writing safe: a stream that was closed is /dev/null, and what an encoding cannot show is escaped."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # its number is free, and the next file opened would get it
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _interrupted(arguments: list[str]) -> int:
    from shlex import join

    again = "; the same command goes on from here:\n  " + join(["wmtp", *arguments])
    click.echo(f"wmtp: stopped by ctrl-C{again if _resumable(arguments) else ''}", err=True)
    return 130


def _resumable(arguments: Sequence[str]) -> bool:
    return any(a in RESUMABLE for a in arguments[:1])
