"""``wmtp convert``."""

from __future__ import annotations

from pathlib import Path

import click

from wmtp.cli.session import Session


@click.command("convert")
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--variant", help="Subfolder of the checkpoint, e.g. 7B_1T_4.")
@click.option("--dtype", default="auto", help="auto (as stored), float32, bfloat16, float16 or float64.")
@click.pass_obj
def command(session: Session, source: Path, destination: Path, variant: str | None, dtype: str) -> None:
    """Convert a checkpoint to transformers format with safetensors, in a new folder DESTINATION.

    SOURCE is in Meta's layout, or has a GGUF file, pytorch_model.bin, or an adapter. Multi-token-prediction modules go along.
    """
    from importlib.util import find_spec

    from wmtp.errors import PluginError

    if missing := [name for name in ("torch", "transformers") if find_spec(name) is None]:
        raise PluginError(f'converting needs {" and ".join(missing)}: pip install "wmtp-core[torch]"')
    from wmtp.models.convert import convert

    records = tuple(owned.spec for owned in session.plugins.architectures.values())
    click.echo(str(convert(source, destination, variant=variant, dtype=dtype, architectures=records)))
