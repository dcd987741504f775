"""The `wmtp` command: the table of commands, and how errors end.

A command's module is imported when the command runs, or when its own ``--help`` is asked for; `wmtp.cli.commands` knows
which there are. A click command finds the plugins in the `wmtp.cli.session.Session` that ``@click.pass_obj`` gives it, and
returns its exit status, or ``None`` for 0.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from wmtp.cli.commands import CORE, Command, named_in, of_plugins

if TYPE_CHECKING:
    from wmtp.cli.session import Session
    from wmtp.plugins import Plugins

_BLOCKED = "wmtp.blocked"

TERMINATED = 128 + 15
"""Exit status, as shells have it."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as ctrl-C does."""


class PipeBroken(Exception):  # noqa: N818
    """A BrokenPipeError, of which click would make status 1 and no word, whichever pipe it was."""

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__(str(error))
        self.error = error


class _Context(click.Context):
    """Knows how wide help is, which click asks `shutil` for: that imports three compression libraries."""

    def make_formatter(self) -> click.HelpFormatter:
        if self.terminal_width is None and click.formatting.FORCED_WIDTH is None:
            self.terminal_width = max(min(_columns(), self.max_content_width or 80) - 2, 50)
        return super().make_formatter()


def _columns() -> int:
    """As `shutil.get_terminal_size` has it."""
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named):
        return int(named)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 80
    except (ValueError, OSError):  # closed, or no terminal
        return 80


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    context_class = _Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A plugin that is left out is not imported, so this must be known before a plugin's command is looked for.
        ctx.meta[_BLOCKED] = named_in(args)[1]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _sigterm_interrupts():
                return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeBroken(error) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*CORE, *_of_plugins(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = CORE.get(cmd_name) or _of_plugins(ctx).get(cmd_name)
        if found is None:
            return None
        module, _, attribute = found.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return with_common_options(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in CORE:
            commands = self.list_commands(ctx)
            if args[0] not in commands:
                raise click.UsageError(_no_such(args[0], commands, _plugins(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        try:
            commands = {**CORE, **_of_plugins(ctx)}
        except Exception as exc:
            from wmtp.errors import PluginError

            if not isinstance(exc, PluginError):
                raise
            click.echo(f"wmtp: {exc}", err=True)
            commands = CORE  # help is there whatever plugins do
        with formatter.section("Commands"):
            _write_rows(formatter, [(name, command.summary) for name, command in commands.items()])


def _write_rows(formatter: click.HelpFormatter, rows: list[tuple[str, str]]) -> None:
    """As `click.HelpFormatter.write_dl`, which makes a wrapper for each row: a tenth of the time that help takes."""
    column = max(len(name) for name, _ in rows) + 2
    room = formatter.width - formatter.current_indent - column
    if column > 30 or not all(name.isascii() and text.isascii() and len(text) <= room for name, text in rows):
        formatter.write_dl(rows)
        return
    for name, text in rows:
        formatter.write(f"{'':{formatter.current_indent}}{name:{column}}{text}\n")


def _of_plugins(ctx: click.Context) -> dict[str, Command]:
    return of_plugins(ctx.meta.get(_BLOCKED, []), lambda: _plugins(ctx))


def _plugins(ctx: click.Context) -> Plugins:
    session = _session(ctx)
    session.blocked.extend(name for name in ctx.meta.get(_BLOCKED, []) if name not in session.blocked)
    return session.plugins


def _no_such(name: str, commands: Sequence[str], plugins: Plugins) -> str:
    from difflib import get_close_matches

    if name in plugins.commands.conflicts:
        return plugins.commands.conflict(name)
    provider = plugins.provider("command", name).removeprefix(". ")
    near = get_close_matches(name, commands, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"The commands are {', '.join(commands)}."
    return f"No such command {name!r}. {provider or hint}"


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
    except (click.Abort, KeyboardInterrupt) as exc:
        return _interrupted(arguments, terminated=isinstance(exc.__cause__ or exc.__context__ or exc, Terminated))
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except SystemExit:  # how click ends where nobody reads a --help, and what a plugin's command may raise
        from wmtp.cli.session import reader_left

        if reader_left(sys.stdout):
            return 0
        raise
    except PipeBroken as exc:
        return _failed(exc.error, arguments)
    except Exception as exc:  # noqa: BLE001  (the one place where whatever went wrong becomes an exit status)
        return _failed(exc, arguments)
    return status if isinstance(status, int) else 0


def _failed(error: Exception, arguments: list[str]) -> int:
    """The exit status for what ended a command. A reader of stdout that left (``| head``) has what it wanted: no failure."""
    from wmtp.cli.session import reader_left, report_error

    if isinstance(error, BrokenPipeError) and reader_left(sys.stdout):
        return 0
    return report_error(error, debug="--debug" in arguments, resumable=_resumable(arguments))


def _prepare_streams() -> None:
    """Makes writing safe: a stream that was closed is /dev/null, and what an encoding cannot show is escaped."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # its number is free, and the next file opened would get it
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Within, SIGTERM (what clusters send) stops a command where ctrl-C would: what was done is kept, servers are ended."""

    import signal  # here: help does without, and it takes a while

    def stop(number: int, frame: Any) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupted(arguments: list[str], *, terminated: bool) -> int:
    from shlex import join

    again = "; the same command goes on from here:\n  " + join(["wmtp", *arguments])
    by = "SIGTERM" if terminated else "ctrl-C"
    click.echo(f"wmtp: stopped by {by}{again if _resumable(arguments) else ''}", err=True)
    return TERMINATED if terminated else 130


def _resumable(arguments: Sequence[str]) -> bool:
    """Whether the command that these arguments name goes on where it stopped when it is started again."""
    name, blocked = named_in(arguments)
    if name in CORE:
        return CORE[name].resumable

    def load() -> Plugins:
        from wmtp.plugins import create_plugin_manager

        return create_plugin_manager(block=blocked)

    try:
        found = of_plugins(blocked, load).get(name) if name else None
    except Exception:  # noqa: BLE001  (plugins that cannot be loaded: what ended the command is told, not this)
        return False
    return found is not None and found.resumable
