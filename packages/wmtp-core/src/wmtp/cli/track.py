"""``wmtp track``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from wmtp.cli.session import Session


@click.group(name="track", short_help="Send what trackers have not heard of a run yet.")
def command() -> None:
    """Send what trackers have not heard of a run yet."""


@command.command(name="sync")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Where its section `tracking` is, instead of the run's own config.yaml: another server, or a run without trackers.",
)
@click.pass_obj
def sync(session: Session, run: Path, config: Path | None) -> None:
    """Send what is left of RUN, a run folder, to its trackers.

    Numbers carry the time at which they came to be, so sending again changes nothing.
    """
    from wmtp.config import load_config
    from wmtp.errors import ConfigError
    from wmtp.tracking.sync import sync_run

    own = run / "config.yaml"
    if config is None and not own.is_file():
        raise ConfigError(f"{run} has no config.yaml; name one that has a section `tracking` with --config")
    wanted: dict[str, Any] = load_config(config or own, plugins=session.plugins).sections.get("tracking") or {}
    specs = {name: session.plugins.trackers[name].spec for name in wanted}
    followed = {name: settings for name, settings in wanted.items() if specs[name].target}
    if not followed:
        raise ConfigError(f"{config or own}: no tracker that follows a journal is in its section `tracking`")
    for name, settings in followed.items():
        done = sync_run(run, name, specs[name].target, settings)
        click.echo(
            f"{name}: {done.now} numbers sent now, {done.all} in all" + (f"; {done.shown}" if done.shown else "")
        )
        for line in done.refused:
            click.echo(f"{name}: {line}", err=True)
