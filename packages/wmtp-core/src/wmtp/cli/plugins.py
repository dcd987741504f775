"""``wmtp plugins list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wmtp.cli.session import Session, echo_json

if TYPE_CHECKING:
    from wmtp.plugins import Plugins


@click.group(name="plugins", short_help="List plugins: their state, and what each provides.")
def command() -> None:
    """List plugins: their state, and what each provides."""


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_plugins(session: Session, as_json: bool) -> None:
    """Every plugin found: distribution, version, state, what is wrong with it, and what it provides.

    States: loaded; blocked (WMTP_PLUGINS or --no-plugin; not imported); incompatible (needs another wmtp-core; not
    imported); broken (fails to import, or breaks a rule of the plugin manager).
    """
    plugins = session.plugins
    infos = plugins.listing()
    if as_json:
        echo_json(
            {
                "plugins": [
                    {"distribution": i.distribution, "version": i.version, "state": i.state, "error": i.error or None,
                     "provides": {kind: list(names) for kind, names in i.provides.items()}}
                    for i in infos
                ],
                "conflicts": list(plugins.conflicts()),
            }
        )  # fmt: skip
        return
    show(plugins)


def show(plugins: Plugins) -> None:
    """The listing, for people."""
    for info in plugins.listing():
        click.echo(f"{info.owner}  {info.state}{': ' if info.error else ''}{info.error}")
        for kind, names in info.provides.items():
            click.echo(f"    {kind}: {', '.join(names)}")
