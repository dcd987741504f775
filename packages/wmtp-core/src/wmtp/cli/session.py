"""What the commands share: the plugins, the options that every command takes, and how an error is printed."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from wmtp.plugins import Plugins


def config_file(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the parameter `config`: config.yaml as an argument, or as ``--config`` as `wmtp fetch` takes it."""
    path = click.Path(exists=True, dir_okay=False, path_type=Path)

    @click.argument("config", required=False, type=path)
    @click.option("--config", "config_option", type=path, help="The same as CONFIG.")
    @functools.wraps(function)
    def wrapped(*args: Any, config: Path | None, config_option: Path | None, **options: Any) -> Any:
        if config and config_option:
            raise click.UsageError("CONFIG and --config both name a file; give one")
        return function(*args, config=config or config_option, **options)

    return wrapped


class Session:
    """One run of the command. `blocked` and `debug` come from the options; `plugins` are loaded on first use."""

    def __init__(self) -> None:
        self.blocked: list[str] = []
        self.debug = False

    @functools.cached_property
    def plugins(self) -> Plugins:
        """The plugins, less those of ``--no-plugin``. What a plugin prints while it is imported goes to stderr."""
        from wmtp.plugins import create_plugin_manager

        start_log(debug=self.debug)
        with plugins_print_aside():
            return create_plugin_manager(block=self.blocked)


def start_log(*, debug: bool) -> None:
    """Sends the log of ``wmtp`` to stderr, one plain line a record. A second call changes only the level."""
    logging.raiseExceptions = (
        False  # a log that cannot be written (a full disk) must not add a traceback to the message
    )
    log = logging.getLogger("wmtp")
    level = logging.DEBUG if debug else logging.INFO
    log.setLevel(level)
    handlers = [h for h in log.handlers if isinstance(h, _Stderr)] or [_Stderr()]
    handlers[0].setLevel(level)  # a run's log.txt takes more than stderr does
    log.addHandler(handlers[0])


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("wmtp: %(message)s"))


def report_error(exc: Exception, *, debug: bool, resumable: bool = False) -> int:
    """Prints an error on stderr, for people. Returns the exit status: the error's own, or 1 for a fault of ours.

    resumable: the command goes on where it stopped when it is started again.
    """
    from wmtp import __version__
    from wmtp.errors import WmtpError

    if debug:
        traceback.print_exception(exc)
    if isinstance(exc, WmtpError):
        from wmtp.runs.printable import printable  # a message may quote a file that others wrote

        click.echo(f"wmtp: {printable(str(exc))}", err=True)
        return exc.exit_status
    if isinstance(exc, OSError) and exc.strerror:  # the machine's: no room, no right, no such place
        place = f": {exc.filename}" if exc.filename else ""
        again = "\nWhat was done is kept. Mend this, and run the same command again." if resumable else ""
        click.echo(f"wmtp: {exc.strerror}{place}{again}", err=True)
        return 1
    advice = "" if debug else " Run it again with --debug for the traceback."
    click.echo(
        f"wmtp: {type(exc).__name__}: {exc}\nThis is a fault of ours (wmtp-core {__version__}), not of your "
        f"input.{advice}",
        err=True,
    )
    return 1


@contextlib.contextmanager
def nobody_reads(out: TextIO) -> Iterator[None]:
    """Lets the reader of `out` leave before all is written (``| head``): it has what it wanted."""
    try:
        yield
    except BrokenPipeError:
        if not reader_left(out):
            raise


def reader_left(out: TextIO) -> bool:
    """Whether nobody reads `out` any more. What is still to be written goes nowhere then: Python flushes at exit, and would
    complain once more."""
    poll = select.poll()
    poll.register(out.fileno(), 0)
    left = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    return left


def plugins_print_aside() -> contextlib.AbstractContextManager[Any]:
    """Within, what plugins print goes to stderr: stdout is for the data of the command."""
    return contextlib.redirect_stdout(sys.stderr)


def echo_json(data: object, *, finite: bool = False) -> None:
    """Prints `data` on stdout as JSON, for programs. finite: NaN and infinity, which JSON does not have, raise ValueError."""
    import json

    click.echo(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=not finite))
