"""``wmtp fetch``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from wmtp.cli.session import Session

if TYPE_CHECKING:
    from wmtp.contracts.loading import Resource
    from wmtp.plugins import Plugins
    from wmtp.storage.transfer import Report


@click.command("fetch")
@click.argument("what")
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="config.yaml: storage, paths, cache.")
@click.option("--variant", help="Subfolder of a checkpoint in Meta's layout, e.g. 7B_1T_4.")
@click.option("--revision", help="Revision of a hub repository.")
@click.pass_obj
def command(session: Session, what: str, config: str | None, variant: str | None, revision: str | None) -> None:
    """Bring a model or a data set to this machine ahead of time. WHAT: a data set's name, or a model reference.

    Prints where it is now.
    """
    from wmtp.cli.show import progress
    from wmtp.evaluation.listeners import DOWNLOAD

    if not what.strip():
        raise click.UsageError("WHAT is empty; name a data set or a model")
    plugins = session.plugins
    with progress() as watch:
        resource = _fetch(what, config, variant, revision, plugins, partial(watch, DOWNLOAD) if watch else None)
    click.echo(f"{resource.path} (from {resource.source})")


def _fetch(
    what: str, config: str | None, variant: str | None, revision: str | None, plugins: Plugins, report: Report | None
) -> Resource:
    from wmtp.config import load_config, load_recipe
    from wmtp.loaders import create_data_loader, create_model_loader

    configuration = load_config(config, plugins=plugins)
    if what in plugins.datasets:
        return create_data_loader(configuration, what, plugins=plugins, report=report).resource
    model = {k: v for k, v in {"base_id": what, "variant": variant, "revision": revision}.items() if v}
    recipe = load_recipe({"model": model}, plugins=plugins)
    loader = create_model_loader(configuration, recipe, plugins=plugins, report=report)
    if loader.variant:  # its files alone, where a repository in Meta's layout holds several
        found = loader.resolve((f"{loader.variant}/*", "tokenizer.model", "config.json"))
        if not (found.path / "config.json").is_file():
            return found
    return loader.resolve(None)
