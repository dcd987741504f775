"""``wmtp doctor``: what works on this machine. Every group of checks stands alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wmtp.cli.session import Session, config_file, echo_json
from wmtp.contracts.specs import Check

if TYPE_CHECKING:
    from wmtp.config.config import Config
    from wmtp.plugins import Plugins

_MARKS = {True: "ok", False: "FAILS", None: "-"}


@click.command(name="doctor")
@config_file
@click.option(
    "--model", metavar="REFERENCE", help="Say what a model's server can do instead: openai:http://host:8000/v1."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(session: Session, config: Path | None, model: str | None, as_json: bool) -> None:
    """Say what sandbox, GPU, storage and hub can do here. CONFIG tells which storage and cache are meant.

    It reports and does not judge: the exit status is 0 also where something fails.
    """
    from wmtp.config import load_config

    plugins = session.plugins
    configuration = load_config(config, plugins=plugins)
    groups: dict[str, Callable[[], Iterable[Check]]] = {
        "plugins": lambda: _plugins(plugins),
        "judging": _judging,
        "models": _models,
        "storage": lambda: _storage(configuration, plugins),
        "hub": _hub,
    }
    if model is not None:
        groups = {model: lambda: _model(configuration, model, plugins)}
    report = {name: list(_isolated(name, checks)) for name, checks in groups.items()}
    if as_json:
        echo_json({n: [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in cs] for n, cs in report.items()})
        return
    for name, checks in report.items():
        click.echo(name)
        for check in checks:
            click.echo(f"  {_MARKS[check.ok]:<6}{check.name}{': ' if check.detail else ''}{check.detail}")


def _isolated(group: str, checks: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Yields a group's checks; if the group itself breaks, that is one more line, and the others go on."""
    try:
        yield from checks()
    except Exception as exc:  # noqa: BLE001  (whatever breaks is what doctor is there to show)
        yield Check(group, False, " ".join(f"{type(exc).__name__}: {exc}".split()))


def _plugins(plugins: Plugins) -> Iterator[Check]:
    for info in plugins.listing():
        ok = {"loaded": True, "blocked": None}.get(info.state, False)
        yield Check(info.owner, ok, info.error)
    for conflict in plugins.conflicts():
        yield Check("conflict", False, conflict)


def _judging() -> Iterator[Check]:
    from wmtp.judging import checks

    yield from checks()


def _model(configuration: Config, reference: str, plugins: Plugins) -> Iterable[Check]:
    from wmtp.config import load_recipe
    from wmtp.loaders import create_model_loader

    recipe = load_recipe({"model": {"base_id": reference}}, plugins=plugins)
    return create_model_loader(configuration, recipe, plugins=plugins).checks()


def _models() -> Iterator[Check]:
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "safetensors", "sentencepiece") if find_spec(name) is None]
    if missing:
        yield Check("local models", None, f'{", ".join(missing)} not installed: pip install "wmtp-core[torch]"')
        return
    import torch

    from wmtp.generation.kernels.native import CompilerError, load

    yield Check("torch", True, torch.__version__)
    try:
        load()
        yield Check("products on the CPU", True, "of a few rows: compiled for this processor")
    except CompilerError as reason:
        yield Check("products on the CPU", None, f"of a few rows: torch's own, slower ({reason})")
    if not torch.cuda.is_available():
        yield Check("GPU", None, f"none that torch can use; models run on the CPU ({torch.get_num_threads()} threads)")
    for index in range(torch.cuda.device_count()):
        with torch.cuda.device(index):
            free, total = torch.cuda.mem_get_info()
            # A kernel that runs is the proof: a driver too old for this torch is seen but cannot compute.
            torch.ones(8, device=f"cuda:{index}").sum().item()
        name = torch.cuda.get_device_name(index)
        yield Check(f"cuda:{index}", True, f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")


def _storage(configuration: Config, plugins: Plugins) -> Iterator[Check]:
    yield from _cache(Path(configuration.paths.cache))
    storage = configuration.storage
    spec = plugins.storages[storage.mode].spec
    if spec.check is not None:
        yield from spec.check(storage.settings)
        return
    opened = spec.open(storage.settings)
    first = next(iter(opened.list("")), None)
    yield Check(f"storage {storage.mode}", True, "can be listed" if first else "can be listed, and is empty")


def _cache(cache: Path) -> Iterator[Check]:
    import shutil
    import tempfile

    made = [place for place in (cache, *cache.parents) if not place.exists()]
    try:
        # A file that is written is the proof: rights say nothing of /proc, a full disk or a file in the folder's place.
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache) as file:
            file.write(bytes(4096))
        check = Check("cache", True, f"{cache}: {shutil.disk_usage(cache).free / 2**30:.1f} GiB free")
    except OSError as error:
        check = Check(
            "cache", False, f"{cache} cannot be written: {error.strerror}; set paths.cache to a folder that can be"
        )
    finally:
        for place in made:
            with suppress(OSError):
                place.rmdir()
    yield check


def _hub() -> Iterator[Check]:
    from huggingface_hub import constants, get_session, get_token

    found = get_token() is not None
    yield Check("hub token", found or None, "found" if found else "none; gated models need one: hf auth login")
    if constants.HF_HUB_OFFLINE:
        yield Check("hub", None, "HF_HUB_OFFLINE is set: only what is cached is used")
        return
    response = get_session().get(f"{constants.ENDPOINT}/api/models?limit=1", timeout=5)
    yield Check("hub", response.status_code == 200, f"{constants.ENDPOINT} answers with status {response.status_code}")
