"""The command ``wmtp hello`` and the tracker ``count``: imported when they are used."""

import json
from collections import Counter
from pathlib import Path

import click

import wmtp


@click.command()
@click.argument("recipe", required=False, type=click.Path(exists=True, dir_okay=False))
@click.pass_obj
def hello(session: wmtp.Session, recipe: str | None) -> None:
    """Greet whom RECIPE says."""
    greeting = wmtp.load_recipe(recipe, plugins=session.plugins).sections.get("greeting")
    click.echo(f"Hello, {greeting.name if greeting else 'world'}!")


class Count:
    def __init__(self, path: str) -> None:
        self._path, self._counts = Path(path), Counter[str]()

    def handle(self, event: object) -> None:
        self._counts[type(event).__name__] += 1

    def close(self) -> None:
        self._path.write_text(json.dumps(self._counts), encoding="utf-8")
