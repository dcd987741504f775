"""``wmtp config check | schema | migrate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wmtp.cli.session import Session, echo_json

if TYPE_CHECKING:
    from wmtp.config.config import Config
    from wmtp.config.recipe import Recipe
    from wmtp.errors import ConfigFault


@click.group(name="config", short_help="Check, describe or migrate configuration files.")
def command() -> None:
    """Check, describe or migrate configuration files."""


@command.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `wmtp eval` does.")
@click.option("--json", "as_json", is_flag=True, help="Print the configuration that results.")
@click.pass_obj
def check(session: Session, config: Path, recipe: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check CONFIG, and RECIPE with it, without running anything: keys, types, plugins' sections, metrics and n; then what
    this machine lacks of it: packages for programs, a model's folder, the run to beat.

    Everything that is wrong is told at once; the exit status is then 2.
    """
    from wmtp.config import load_config, load_configuration
    from wmtp.config.plain import to_plain
    from wmtp.errors import ConfigError

    plugins = session.plugins
    if recipe is None:
        configuration, structured = load_config(config, plugins=plugins, overrides=overrides), None
    else:
        configuration, structured = load_configuration(config, recipe, plugins=plugins, overrides=overrides)
    if wrong := [*_unservable(configuration, structured)]:
        raise ConfigError(wrong)
    if as_json:
        echo_json({"config": to_plain(configuration), "recipe": to_plain(structured) if structured else None})
        return
    for key, path in _missing(configuration):
        click.echo(f"wmtp: config.{key}: {path} does not exist; cache, storage and hub are asked instead", err=True)
    click.echo(f"{config}: ok; storage {configuration.storage.mode}, judging {configuration.judging.level}")
    if structured is not None:
        owners = {plugins.metric(m, structured.eval.metric_prefix).evaluator.spec.id for m in structured.eval.metrics}
        answered = f"metrics from {', '.join(sorted(owners))}" if owners else "no metrics: nothing would be evaluated"
        click.echo(f"{recipe}: ok; {answered}")


def _unservable(configuration: Config, recipe: Recipe | None) -> Iterator[ConfigFault]:
    """What is well written and would be refused at the start all the same, as far as this machine knows without starting it."""
    from wmtp.errors import ConfigFault, WmtpError
    from wmtp.judging.host.packages import find
    from wmtp.runs.reader import open_run

    for index, name in enumerate(configuration.judging.packages):
        try:
            find([name])
        except WmtpError as error:
            yield ConfigFault(f"config.judging.packages[{index}]", str(error).removeprefix("judging.packages: "))
    if recipe is None:
        return
    if recipe.eval.against is not None:
        try:
            record = open_run(recipe.eval.against).record
        except WmtpError as error:
            yield ConfigFault("recipe.eval.against", str(error))
        else:
            if record is None:
                yield ConfigFault("recipe.eval.against", f"{recipe.eval.against} has not come to its end")
    model = recipe.model.base_id
    if model is not None and model.startswith("/") and not Path(model).exists():
        yield ConfigFault("recipe.model.base_id", f"{model} does not exist")


def _missing(configuration: Config) -> Iterator[tuple[str, str]]:
    """Local copies that are named and are not there. It is no fault: cache, storage and hub come behind them."""
    models, datasets = configuration.paths.models, configuration.paths.datasets
    named = {
        f"paths.models.{role}_local": found.path
        for role in ("base", "rm", "ref")
        if (found := getattr(models, f"{role}_local")) is not None
    }
    named |= {f"paths.datasets.{name}_local": path for name, path in datasets.items()}
    return ((key, path) for key, path in named.items() if "://" not in path and not Path(path).exists())


@command.command()
@click.argument("which", type=click.Choice(["config", "recipe"]), default="config")
@click.pass_obj
def schema(session: Session, which: str) -> None:
    """Print the JSON schema of config.yaml, or of recipe.yaml, with the sections of the installed plugins.

    Editors check and complete with it: save it, and put `# yaml-language-server: $schema=FILE` on top of the file.
    """
    from wmtp.config.schema import config_schema, recipe_schema

    echo_json((config_schema if which == "config" else recipe_schema)(session.plugins))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Rewrite FILE; its old text stays in FILE.bak.")
def migrate(file: Path, write: bool) -> None:
    """Rewrite the flat keys storage_mode and s3_config of FILE to the nested form. Comments are kept.

    Prints the new file. Credentials among the old keys are left out: they come from the storage's own chain.
    """
    from wmtp.config.migrate import migrate as rewrite
    from wmtp.errors import ConfigError

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {file}: {exc}") from exc
    result = rewrite(text, str(file))
    for key, why in result.removed:
        click.echo(f"wmtp: {key} left out: {why}", err=True)
    for key in result.incomplete:
        click.echo(f"wmtp: {key}.s3.bucket is missing, and must be written before the file can be used", err=True)
    for key in result.nested:
        click.echo(
            f"wmtp: {key} is below the top level: right for a loader's own configuration; in config.yaml, storage stands at "
            "the top, so move it there",
            err=True,
        )
    if not write:
        click.echo(result.text, nl=False)
    if not result.changed:
        click.echo(f"wmtp: {file} has no flat keys; nothing to do", err=True)
    elif write:
        _replace(file, text, result.text)
        click.echo(f"wmtp: {file} rewritten; the old text is in {file}.bak", err=True)


def _replace(file: Path, old: str, new: str) -> None:
    """Both texts are on disk under other names before the file itself is replaced."""
    backup, fresh = Path(f"{file}.bak"), Path(f"{file}.new")
    if backup.exists():
        from wmtp.errors import ConfigError

        raise ConfigError(f"{backup} exists and is not overwritten; move it away first")
    backup.write_text(old, encoding="utf-8")
    fresh.write_text(new, encoding="utf-8")
    fresh.chmod(file.stat().st_mode)
    fresh.replace(file)
