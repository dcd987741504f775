"""Models in transformers format and in Meta's from what a `LoadRequest` fetches: which files, in which order.

Small files come first, so that what cannot be loaded is refused before its weights are on their way.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wmtp.contracts.loading import Fetch, LoadRequest
from wmtp.errors import PluginError, ResourceError
from wmtp.models.formats import is_meta
from wmtp.models.weight_files import INDEX, weight_patterns

if TYPE_CHECKING:
    from wmtp.models.load import LoadedModel

_FILES = ("*.json", "*.model", "*.txt", "*.jinja")


def transformers_model(request: LoadRequest) -> LoadedModel:
    """The model of a folder or hub id in transformers format; of one that turns out to be in Meta's, that one.

    Raises:
        PluginError: torch or transformers is not installed.
        ResourceError: what is missing, and where it was looked for.
    """
    _check_installed(request)
    if request.variant:
        # Only Meta's layout has variants, so a few small files are asked for first: never another variant's weights.
        params = f"{request.variant}/params.json"
        small = request.fetch(("config.json", params, "tokenizer.model")).path
        if not any((small / name).is_file() for name in ("config.json", params, "params.json")):
            wanted = (f"{request.variant}.gguf", "tokenizer*.json", "chat_template*")
            there = False
            with suppress(ResourceError):  # nothing of the kind there: what is missing of Meta's layout is told below
                there = (request.fetch(wanted).path / wanted[0]).is_file()
            if there:
                return _loaded_model(request, wanted)
        if not (small / "config.json").is_file():
            return meta_model(request)
    files = _wanted(request, _check_early(request, request.fetch))
    found = request.fetch(files).path
    if not (found / "config.json").is_file() and is_meta(str(found)):
        from wmtp.models import meta

        variant = meta.variant_name(meta.choose(found, None), found, None)
        return meta_model(attrs.evolve(request, variant=variant or None))
    return _loaded_model(request, _wider(files, found))


def _wanted(request: LoadRequest, early: Path) -> tuple[str, ...]:
    """Which files are wanted of a folder in transformers format; `early`: its small files that came first."""
    wanted = (*_FILES, *weight_patterns(early))
    return (*wanted, "*.py") if request.trust_remote_code else wanted


def _wider(wanted: tuple[str, ...], found: Path) -> tuple[str, ...]:
    """`found`: what came of them. Other weights are larger than what most folders have beside them."""
    if any(found.glob("*.safetensors")):
        return wanted
    return (*wanted, "*.safetensors", "pytorch_model*.bin", "adapter_model.bin", "*.gguf")


def _check_early(request: LoadRequest, fetch: Fetch) -> Path:
    """Refuses what small files tell, before anything large comes: of the model, and of the one that an adapter belongs to.

    Returns the folder that holds them, an index of weights among them.
    """
    from wmtp.models.adapter import Adapter
    from wmtp.models.causal import check_early

    folder = fetch(("config.json", "adapter_config.json", "*params.json", INDEX)).path
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        adapter = Adapter.look(folder)
        adapter.find(lambda reference, revision: _base(request, reference, revision, early=True))
        return folder
    handled = {kind for spec in request.architectures if spec.trunk for kind in spec.model_types}
    check_early(folder, trust_remote_code=request.trust_remote_code, handled=handled)
    return folder


def _base(request: LoadRequest, reference: str, revision: str | None, *, early: bool = False) -> Path:
    """The files of the model that an adapter belongs to; early: only the small ones, to be looked at."""
    if request.fetch_of is None:
        raise ResourceError(f"nothing here finds {reference}")
    fetch = request.fetch_of(reference, revision)
    small = _check_early(request, fetch)
    if early:
        return small
    wanted = _wanted(request, small)
    return fetch(_wider(wanted, fetch(wanted).path)).path


def meta_model(request: LoadRequest) -> LoadedModel:
    """The model of a folder or hub id in Meta's layout. Raises as `transformers_model` does."""
    _check_installed(request)
    folder = f"{request.variant}/" if request.variant else ""
    return _loaded_model(request, (f"{folder}params.json", f"{folder}consolidated*.pth", "tokenizer.model"))


def _check_installed(request: LoadRequest) -> None:
    if missing := [name for name in ("torch", "transformers") if find_spec(name) is None]:
        # said before anything is downloaded
        raise PluginError(
            f"model {request.reference!r} runs on this machine, which needs {' and '.join(missing)}: "
            'pip install "wmtp-core[torch]"'
        )


def _loaded_model(request: LoadRequest, patterns: tuple[str, ...]) -> LoadedModel:
    from wmtp.models import load_model

    resource = request.fetch(patterns)
    loaded = load_model(
        resource.path,
        variant=request.variant,
        device=request.device,
        dtype=request.dtype,
        trust_remote_code=request.trust_remote_code,
        architectures=request.architectures,
        find_base=partial(_base, request),
        whole_digests=request.whole_digests,
    )
    return attrs.evolve(loaded, version=resource.version)
