"""``wmtp checkpoints``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

import wmtp
from wmtp_train.cli import check_installed

if TYPE_CHECKING:
    from wmtp_train.folder import Checkpoint

RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group(name="checkpoints", short_help="List, export and verify a training's checkpoints.")
def command() -> None:
    """List, export and verify the checkpoints of a training."""


@command.command(name="list")
@RUN
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(run: Path, as_json: bool) -> None:
    """The whole checkpoints of RUN, the oldest first."""
    rows = [
        {
            "step": one.step,
            "path": str(one.path),
            "eval_loss": one.loss,
            "processes": one.state["world"],
            "bytes": sum(file["size"] for file in one.state["files"].values()),
        }
        for one in _found(run)
    ]
    if as_json:
        click.echo(json.dumps({"checkpoints": rows}, indent=2))
        return
    for row in rows:
        loss = "" if row["eval_loss"] is None else f"  validation loss {row['eval_loss']:.4f}"
        click.echo(f"step {row['step']}  {row['bytes']} bytes{loss}  {row['path']}")


@command.command(name="verify")
@RUN
def verify_command(run: Path) -> int:
    """Read every file of every checkpoint of RUN and compare it with its sha256. Exit status 1 if one differs."""
    from wmtp_train.folder import TrainingFolder, faults_of

    folder = TrainingFolder(run)
    damaged = folder.damaged()
    found = folder.whole() if damaged else _found(run)
    faults = [*damaged, *(fault for one in found for fault in faults_of(one))]
    for fault in faults:
        click.echo(fault)
    if not faults:
        click.echo(f"{len(found)} checkpoints are whole")
    return int(bool(faults))


@command.command(name="export")
@RUN
@click.option("--step", type=int, help="Which one; by default the newest.")
@click.option("--to", "destination", type=click.Path(path_type=Path), help="Folder to write; default: in RUN.")
@click.pass_obj
def export_command(session: wmtp.Session, run: Path, step: int | None, destination: Path | None) -> None:
    """Write a checkpoint of RUN in transformers format, its heads kept. Prints the folder."""
    check_installed()
    from wmtp_train.export import export
    from wmtp_train.plan import TrainingRequest

    found = _found(run)
    chosen = next((one for one in reversed(found) if step in (None, one.step)), None)
    if chosen is None:
        steps = ", ".join(str(one.step) for one in found)
        raise wmtp.ConfigError(f"{run} has no checkpoint of step {step}; it has {steps}")
    config, recipe = wmtp.load_configuration(run / "config.yaml", run / "recipe.yaml", plugins=session.plugins)
    request = TrainingRequest(config=config, recipe=recipe, plugins=session.plugins, runs=run.parent)
    if request.folder.resolve() != run.resolve():
        raise wmtp.ConfigError(
            f"{run} is the folder of run {recipe.run.name!r}, and was renamed; give it its name back"
        )
    click.echo(export(request, chosen, destination=destination))


def _found(run: Path) -> list[Checkpoint]:
    from wmtp_train.folder import TrainingFolder

    found = TrainingFolder(run).whole()
    if not found:
        raise wmtp.ConfigError(f"{run} has no whole checkpoint")
    return found
