"""``wmtp critic``."""

from __future__ import annotations

from pathlib import Path

import click

import wmtp


@click.command("critic")
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. critic.steps=20.")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default="runs", help="Folder of run folders.")
@click.pass_obj
def command(session: wmtp.Session, config: str, recipe: str, overrides: tuple[str, ...], runs: Path) -> None:
    """Make a critic: a value model that ranks programs that passed above those that failed.

    RECIPE's section critic names the run folder whose judged samples it learns from. The critic is in runs/<run name>/critic;
    train.critic names that folder. A critic that is there already is found, not made again.
    """
    from wmtp_train.cli import check_installed, request_of

    check_installed()
    from wmtp_train.critic_train import make_critic

    request = request_of(session, config, recipe, overrides, runs)
    settings = request.recipe.sections.get("critic")
    if settings is None:
        raise wmtp.ConfigError(f"{recipe} has no section critic: critic: {{run: runs/NAME}}")
    loaded = wmtp.create_model_loader(request.config, request.recipe, plugins=request.plugins).load_model(
        device=request.device, dtype="float32"
    )
    made = make_critic(loaded, settings, runs / request.recipe.run.name / "critic", seed=request.config.seed)
    how = "made" if made.new else "there already"
    click.echo(f"{made.folder}: {how}, from {made.pairs} pairs; {accuracy(made.accuracy, made.held_out)}")


def accuracy(found: tuple[float, float, float] | None, pairs: int) -> str:
    """The accuracy in words."""
    if found is None:
        return "no problem was held out, so nobody knows how good it is"
    value, low, high = (100 * part for part in found)
    return f"ranks {value:.1f} % of {pairs} held-out pairs rightly (95 %: {low:.1f} to {high:.1f})"
