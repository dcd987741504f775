"""``wmtp upload``."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from wmtp.cli.session import Session

LOCK = (".lock",)
"""Of a run directory; whoever holds it holds it here."""


@click.command("upload")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="config.yaml: the storage.")
@click.option("--to", metavar="KEY", help="Key below the storage's prefix, or a URL such as s3://bucket/key.")
@click.option("--model", metavar="ID", help="FOLDER is a checkpoint: put it where model.base_id ID is looked for.")
@click.pass_obj
def command(session: Session, folder: Path, config: str | None, to: str | None, model: str | None) -> None:
    """Put a run directory or a checkpoint into the storage: FOLDER with all it holds, its manifest last.

    A run directory goes to runs/<its name>/. The same command again puts the same files again. Prints where they are.
    """
    from wmtp.cli.show import UPLOAD, progress
    from wmtp.config import load_config
    from wmtp.errors import ConfigError, ResourceError
    from wmtp.loaders import open_destination
    from wmtp.storage.keys import BadKey
    from wmtp.storage.transfer import upload

    if to and model:
        raise click.UsageError("--to and --model both say where; give one")
    configuration = load_config(config, plugins=session.plugins)
    with ExitStack() as stack:
        key = to or _key(folder, model, stack)
        storage, prefix, shown = open_destination(key, configuration, session.plugins)
        watch = stack.enter_context(progress())
        try:
            entries = upload(storage, folder, prefix, partial(watch, UPLOAD) if watch else None, leave_out=LOCK)
        except BadKey as error:
            raise ConfigError(str(error)) from None
        except OSError as error:
            if error.strerror:  # this machine's
                raise
            raise ResourceError(
                f"{shown} is not whole, and has no new manifest: {error}. Mend this, and run it again."
            ) from error
    click.echo(f"{shown} ({len(entries) - 1} files, {sum(entry.size for entry in entries[:-1])} bytes)")


def _key(folder: Path, model: str | None, stack: ExitStack) -> str:
    from wmtp.errors import ConfigError
    from wmtp.loaders import model_key
    from wmtp.runs.folder import locked

    if model:
        return model_key(model)
    if not (folder / "keys.json").is_file():
        raise ConfigError(f"{folder} is no run directory; say where it goes: --model ID for a checkpoint, or --to KEY")
    stack.enter_context(locked(folder, fresh=False))  # nobody writes into it meanwhile
    return f"runs/{folder.resolve().name}"
