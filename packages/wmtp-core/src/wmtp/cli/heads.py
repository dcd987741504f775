"""``wmtp heads``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wmtp.cli.options import Finite
from wmtp.cli.session import Session

if TYPE_CHECKING:
    from wmtp.generation.engine import DecodingEngine
    from wmtp.heads.session import HeadReport
    from wmtp.heads.texts import GivenText


class Heads(click.Group):
    """``wmtp heads MODEL`` measures; ``wmtp heads add MODEL`` adds. A model in a folder called add is ``./add``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The first argument is a model, unless it names something else to do."""
        return super().parse_args(ctx, args if args[:1] == ["add"] else ["measure", *args])


@click.group("heads", cls=Heads)
def command() -> None:
    """Measure a model's heads (`wmtp heads MODEL`), or add some (`wmtp heads add MODEL --to FOLDER`)."""


@command.command("add")
@click.argument("model")
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write."
)
@click.option("--count", type=click.IntRange(min=1), help="How many. Default: 3 parallel heads, or 1 module.")
@click.option(
    "--kind",
    type=click.Choice(["parallel", "sequential"]),
    default="parallel",
    show_default=True,
    help="parallel: Meta's, for Llama, Mistral and Qwen2. sequential: modules like DeepSeek's, for any model.",
)
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="config.yaml: storage, paths, devices.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. model.revision=main."
)
@click.pass_obj
def add(
    session: Session,
    /,
    model: str,
    folder: Path,
    count: int | None,
    kind: str,
    config: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Add heads to MODEL, which has none, and write it: to be trained with `wmtp train`.

    Each begins as a copy of the model's last layer; a module's projection begins random. What the model writes stays the same.
    """
    from wmtp.config import load_configuration
    from wmtp.loaders import create_model_loader
    from wmtp.models.parallel import save_with_heads, save_with_modules

    settings, recipe = load_configuration(
        config, {"model": {"base_id": model}}, plugins=session.plugins, overrides=overrides
    )
    loaded = create_model_loader(settings, recipe, plugins=session.plugins).load_model(device="cpu")
    if kind == "sequential":
        specs = tuple(owned.spec for owned in session.plugins.architectures.values())
        click.echo(save_with_modules(loaded, count or 1, folder, specs))
    else:
        click.echo(save_with_heads(loaded.model, loaded.tokenizer, count or 3, folder))


@command.command("measure", hidden=True)
@click.argument("model")
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="config.yaml: storage, paths, devices.")
@click.option("--benchmark", metavar="NAME", help="Measure on a benchmark's problems: mbpp, say.")
@click.option("--limit", type=click.IntRange(min=1), help="The first N problems, or rows.")
@click.option(
    "--text", "file", type=click.Path(dir_okay=False, path_type=Path), help="Rows with text, or prompt and text."
)
@click.option("--depth", type=click.IntRange(min=1), help="Draft steps. Default: as many as there are heads.")
@click.option("--sampled", type=Finite(min=0), metavar="T", help="On the model's own answers at temperature T.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Of such an answer.")
@click.option("--check", is_flag=True, help="Find out which convention the modules were trained with.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. model.revision=main."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def measure(session: Session, /, model: str, as_json: bool, **options: Any) -> int:
    """Say what heads MODEL has to predict further tokens with, and how good they are.

    Without --benchmark or --text it says what was found. With one of them: loss, first choices and expected acceptance of every
    draft, on the given solutions or (--sampled) on the model's own. Exit status 1 where there is nothing to
    measure. `wmtp heads add MODEL --to FOLDER` adds heads to a model without.
    """
    from wmtp.cli.session import echo_json, plugins_print_aside
    from wmtp.runs.printable import printable

    if options["benchmark"] and options["file"]:
        raise click.UsageError("--benchmark and --text both name texts; give one")
    wanted = bool(options["benchmark"] or options["file"])
    if not wanted and (options["check"] or options["depth"] or options["sampled"] is not None):
        raise click.UsageError("there is nothing to measure on; give --benchmark NAME or --text FILE.jsonl")
    with plugins_print_aside():
        engine, given = _open(session, model, options)
        found = _measured(engine, given, options) if wanted and engine.heads.used else None
    if as_json:
        echo_json(_json(engine, found))
    else:
        click.echo(printable("\n".join(_said(model, engine, found, check=options["check"]))))
    return 0 if engine.heads.used else 1


def _open(session: Session, model: str, options: dict[str, Any]) -> tuple[DecodingEngine, list[GivenText]]:
    """The model, and the texts: these first, as they are quickly read and may be wrong."""
    from importlib.util import find_spec

    import attrs

    from wmtp.config import load_configuration
    from wmtp.errors import ConfigError, PluginError
    from wmtp.loaders import create_model_loader

    if missing := [name for name in ("torch", "transformers") if find_spec(name) is None]:
        raise PluginError(f'measuring heads needs {" and ".join(missing)}: pip install "wmtp-core[torch]"')
    if not model.strip():
        raise click.UsageError("MODEL is empty; name a folder, a hub id or a remote place")
    section: dict[str, Any] = {"limit": options["limit"]} if options["limit"] else {}
    recipe_data = {"model": {"base_id": model}, "eval": section}
    config, recipe = load_configuration(
        options["config"], recipe_data, plugins=session.plugins, overrides=options["overrides"]
    )
    if recipe.model.loader and not session.plugins.loaders[recipe.model.loader].spec.on_devices:
        raise ConfigError(
            f"model.loader: {recipe.model.loader} runs the model elsewhere, and heads are measured here: leave it out"
        )
    given = _given(session, config, recipe, options)
    from wmtp.generation.engine import DecodingEngine

    alone = attrs.evolve(config, devices=attrs.evolve(config.devices, replicas=1))  # it asks one thing after another
    engine = create_model_loader(alone, recipe, plugins=session.plugins).load()
    if not isinstance(engine, DecodingEngine):
        raise ConfigError(f"{model!r} is no model that runs here, and only in such a one heads can be measured")
    return engine, given


def _given(session: Session, config: Any, recipe: Any, options: dict[str, Any]) -> list[GivenText]:
    from wmtp.heads.texts import of_file, of_requests

    tokens = options["max_new_tokens"]
    if options["benchmark"]:
        from wmtp.evaluation.requests import benchmark_requests

        return of_requests(
            benchmark_requests(config, recipe, session.plugins, options["benchmark"]), max_new_tokens=tokens
        )
    if options["file"]:
        return of_file(options["file"], max_new_tokens=tokens)[: options["limit"]]
    return []


def _measured(engine: DecodingEngine, given: list[GivenText], options: dict[str, Any]) -> HeadReport:
    from wmtp.contracts.engines import Sampling
    from wmtp.heads.session import report

    sampled = options["sampled"]
    sampling = (
        None if sampled is None else Sampling(temperature=sampled, max_new_tokens=options["max_new_tokens"], seed=0)
    )
    return report(engine, given, depth=options["depth"], sampled=sampling, check=options["check"])


def _json(engine: DecodingEngine, found: HeadReport | None) -> dict[str, Any]:
    heads = engine.heads
    nothing: dict[str, Any] = {"depths": [], "expected_length": [], "check": None}
    return {
        "modules": heads.modules,
        "declared": heads.declared,
        "family": heads.family,
        "used": heads.used,
        "why": heads.why,
        "convention": heads.convention,
        "drafts": heads.used and engine.drafts,
        **(found.to_json() if found else nothing),
    }


def _said(model: str, engine: DecodingEngine, found: HeadReport | None, *, check: bool) -> list[str]:
    from wmtp.heads.lines import lines

    heads = engine.heads
    if not str(heads):
        return [f"{model} has no heads: nothing in it predicts further tokens than the next one."]
    said = [f"{model}: {heads}"]
    if heads.convention:
        said.append(f"run as: {heads.convention}")
    if heads.used and not engine.drafts:
        said.append(f"they do not draft here: {engine.path.why}")
    if found:
        said += ["", *lines(found)]
        if check and found.check is None:
            said += ["", "--check: parallel heads leave no convention open"]
    return said
