"""``wmtp cache``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wmtp.cli.session import Session, config_file

if TYPE_CHECKING:
    from wmtp.storage.cache import Cache


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    from wmtp.config.sizes import parse_size

    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group("cache")
def command() -> None:
    """List, verify or prune what has been downloaded."""


def _cache(session: Session, config: Path | None) -> tuple[Cache, int | None]:
    """The cache that a config.yaml names, and how large that lets it grow."""
    from wmtp.config import load_config
    from wmtp.storage.cache import Cache

    paths = load_config(config, plugins=session.plugins).paths
    return Cache(Path(paths.cache)), paths.cache_bytes


@command.command("list")
@config_file
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def list_(session: Session, config: Path | None, as_json: bool) -> None:
    """List complete entries: size, files, source."""
    cache, _ = _cache(session, config)
    entries = list(cache.entries())
    if as_json:
        rows = [
            {"source": e.source, "version": e.version, "bytes": e.size, "files": len(e.files), "path": str(e.path)}
            for e in entries
        ]
        click.echo(json.dumps({"root": str(cache.root), "entries": rows}, indent=1))
        return
    click.echo(f"{cache.root}: {len(entries)} entries, {sum(e.size for e in entries) / 2**20:.1f} MiB")
    for entry in entries:
        click.echo(f"{entry.size / 2**20:10.1f} MiB  {len(entry.files):5d} files  {entry.source}")


@command.command("verify")
@config_file
@click.pass_obj
def verify(session: Session, config: Path | None) -> int:
    """Hash every file of every entry against its manifest. Exit status 1 if one is damaged."""
    cache, _ = _cache(session, config)
    wrong = [line for entry in cache.entries() for line in cache.verify(entry)]
    click.echo("\n".join(wrong) if wrong else "every entry is what its manifest says")
    return 1 if wrong else 0


@command.command("prune")
@config_file
@click.option("--keep", callback=_size, metavar="SIZE", help="Keep the latest used up to this, e.g. 20G.")
@click.pass_obj
def prune(session: Session, config: Path | None, keep: int | None) -> None:
    """Remove entries, the longest unused first, and leftovers of killed downloads.

    Without --keep, down to paths.cache_size of CONFIG; without that, all of them. Entries that were used just now go as
    well, where they must: prune when no run is reading them.
    """
    cache, limit = _cache(session, config)
    removed = cache.prune(limit or 0 if keep is None else keep)
    click.echo(f"removed {len(removed)} entries, {sum(e.size for e in removed) / 2**20:.1f} MiB")
