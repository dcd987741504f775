"""``wmtp train``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

import wmtp
from wmtp_train.signals import heard

if TYPE_CHECKING:
    from wmtp_train.loop import TrainingResult
    from wmtp_train.plan import TrainingRequest


@contextmanager
def between_steps() -> Iterator[None]:
    """Within, a SIGUSR1 that meets no step ends nothing: all that was done is saved."""
    with heard(signal.SIGUSR1, lambda *_: None):
        yield


@click.command("train")
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. train.max_steps=20.")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default="runs", help="Folder of run folders.")
@click.option("--processes", type=click.IntRange(1), default=1, help="Processes on this machine, sharded by FSDP2.")
@click.option(
    "--resume",
    type=click.Choice(["auto", "never"]),
    default="auto",
    help="auto goes on from the newest checkpoint; never begins anew and moves what is there aside.",
)
@click.option(
    "--stage",
    type=click.Choice(["train", "reference"]),
    default="train",
    help="reference: train what the recipe's section reference describes, as `wmtp run` does first.",
)
@click.option("--dry-run", is_flag=True, help="Find and check everything, weigh one batch, and train nothing.")
@click.pass_obj
@between_steps()
def train_command(
    session: wmtp.Session,
    config: str,
    recipe: str,
    overrides: tuple[str, ...],
    runs: Path,
    processes: int,
    resume: str,
    stage: str,
    dry_run: bool,
) -> int | None:
    """Train a model: CONFIG says where things are, RECIPE what is learned.

    The training lives in runs/<run name>/train/. The same command goes on where a stopped one left off. Under torchrun each
    process runs this command as it is.
    """
    if processes > 1 and not dry_run:
        check_installed()
        from wmtp_train.launch import check, launch

        check(processes, request_of(session, config, recipe, overrides, runs))
        launch(processes, process_arguments(config, recipe, overrides, runs, resume, session, stage))
        return None
    request = request_of(session, config, recipe, overrides, runs)
    if stage == "reference":
        from wmtp_train.reference import reference_request

        request = reference_request(request)
    if dry_run:
        from wmtp_train.dry_run import lines

        click.echo("\n".join(lines(request, processes)))
        return None
    result = train_here(request, resume=resume)
    if os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK") == "0":
        click.echo(said(result))
        if stage == "reference" and result.ending != "stopped":
            from wmtp_train.reference import export_reference

            click.echo(f"reference: {export_reference(request)}")
    if result.ending == "stopped":
        os.kill(os.getpid(), signal.SIGTERM)  # the signal's own message and exit status, now that all is saved
    return None


def request_of(
    session: wmtp.Session, config: str, recipe: str, overrides: tuple[str, ...], runs: Path
) -> TrainingRequest:
    """What a trainer receives, from files. Raises PluginError where torch or transformers is missing."""
    check_installed()
    from wmtp_train.plan import TrainingRequest

    settings, wishes = wmtp.load_configuration(config, recipe, plugins=session.plugins, overrides=overrides)
    return TrainingRequest(
        config=settings,
        recipe=wishes,
        plugins=session.plugins,
        runs=runs,
        device=_device(settings.devices.device),
    )


def check_installed() -> None:
    """Raises PluginError where what training runs on is not installed."""
    if missing := [name for name in ("torch", "transformers") if find_spec(name) is None]:
        raise wmtp.PluginError(f'training needs {" and ".join(missing)}: pip install "wmtp-core[torch]"')


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def train_here(request: TrainingRequest, *, resume: str = "auto") -> TrainingResult:
    """Trains in this process by the trainer that the recipe names."""
    from wmtp_train.settings import sections_of
    from wmtp_train.trainer import Training

    name = sections_of(request.recipe).train.trainer.name
    if name not in request.plugins.trainers:
        raise wmtp.ConfigError(request.plugins.missing("trainer", name, request.plugins.trainers))
    result: TrainingResult = request.plugins.trainers[name].spec.train(Training(request=request, resume=resume))
    return result


def said(result: TrainingResult) -> str:
    """One line on how a training ended."""
    how = {
        "finished": "all steps are done",
        "early": "the validation loss stopped falling",
        "stopped": "stopped by a signal, and saved",
    }
    return f"{result.folder}: step {result.step} of {result.steps}, {how[result.ending]}"


def process_arguments(
    config: str,
    recipe: str,
    overrides: tuple[str, ...],
    runs: Path,
    resume: str,
    session: wmtp.Session,
    stage: str = "train",
) -> list[str]:
    """The command line of each process."""
    given = [part for override in overrides for part in ("--set", override)]
    given += [part for name in session.blocked for part in ("--no-plugin", name)]
    return ["train", config, recipe, "--runs", str(runs), "--resume", resume, "--stage", stage, *given]
