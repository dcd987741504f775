"""``wmtp run``."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

import wmtp
from wmtp_train.cli import process_arguments, request_of, train_here


@click.command("run")
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. train.max_steps=20.")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default="runs", help="Folder of run folders.")
@click.option("--processes", type=click.IntRange(1), default=1, help="Processes that train, sharded by FSDP2.")
@click.pass_obj
def command(
    session: wmtp.Session, config: str, recipe: str, overrides: tuple[str, ...], runs: Path, processes: int
) -> None:
    """Train, export, evaluate each kept checkpoint, compare with the model before training, and report.

    The same command goes on where it stopped, and does nothing twice.
    """
    from wmtp_train.stages import Stages

    request = request_of(session, config, recipe, overrides, runs)

    def train() -> None:
        if processes > 1:
            from wmtp_train.launch import launch

            launch(processes, process_arguments(config, recipe, overrides, runs, "auto", session))
        elif train_here(request).ending == "stopped":
            os.kill(os.getpid(), signal.SIGTERM)

    Stages(request, train, click.echo).run()
