"""``wmtp eval``."""

from __future__ import annotations

import click

from wmtp.cli.session import Session


@click.command("eval")
@click.argument("config", required=False, type=click.Path(exists=True, dir_okay=False))
@click.argument("recipe", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. eval.limit=20.")
@click.option("--judge", type=click.Choice(["strict", "process", "auto"]), help="Level of the sandbox.")
@click.option("--runs", type=click.Path(file_okay=False), default="runs", help="Folder of run directories.")
@click.option("--fresh", is_flag=True, help="Start the run again: what it holds is deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print the object of results.json.")
@click.pass_obj
def command(
    session: Session,
    config: str | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    judge: str | None,
    runs: str,
    fresh: bool,
    as_json: bool,
) -> int:
    """Evaluate a model: CONFIG says where things are, RECIPE what to run.

    The run lives in runs/<run name>/. The same command goes on where a stopped one left off.
    """
    from wmtp.cli.show import finish, progress
    from wmtp.config import load_configuration
    from wmtp.errors import ConfigError
    from wmtp.evaluation.driver import evaluate

    settings = [*overrides, *([f"judging.level={judge}"] if judge else [])]
    configuration, structured = load_configuration(config, recipe, plugins=session.plugins, overrides=settings)
    if recipe is None and not structured.eval.metrics:
        raise ConfigError(
            "no recipe was given: it says which model to run, and which metrics are wanted. The command line reads\n"
            f"  wmtp eval {config or 'config.yaml'} recipe.yaml\n"
            "and --set can stand for a recipe: --set model.base_id=org/name --set 'eval.metrics=[mbpp_pass@1]'"
        )
    with progress() as report:
        results = evaluate(configuration, structured, plugins=session.plugins, progress=report, runs=runs, fresh=fresh)
    return finish(results, as_json=as_json)
