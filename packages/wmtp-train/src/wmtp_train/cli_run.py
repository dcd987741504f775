"""``wmtp run``."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

import wmtp
from wmtp_train.cli import between_steps, check_installed, process_arguments, request_of, train_here

if TYPE_CHECKING:
    from wmtp_train.plan import TrainingRequest


@click.command("run")
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. train.max_steps=20.")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default="runs", help="Folder of run folders.")
@click.option("--processes", type=click.IntRange(1), default=1, help="Processes that train, sharded by FSDP2.")
@click.pass_obj
@between_steps()
def command(
    session: wmtp.Session, config: str, recipe: str, overrides: tuple[str, ...], runs: Path, processes: int
) -> None:
    """Train, export, evaluate each kept checkpoint, compare with the model before training, and report.

    A reference or a critic that the recipe describes is made first. The same command goes on where it stopped, and does
    nothing twice.
    """
    check_installed()
    from wmtp_train.stages import Stages

    def train(request: TrainingRequest) -> None:
        stage = "train" if request.part_of is None else request.recipe.run.name
        if processes > 1:
            from wmtp_train.launch import check, launch

            check(processes, request)
            launch(processes, process_arguments(config, recipe, overrides, runs, "auto", session, stage))
        elif train_here(request).ending == "stopped":
            os.kill(os.getpid(), signal.SIGTERM)

    Stages(request_of(session, config, recipe, overrides, runs), train, click.echo, processes=processes).run()
