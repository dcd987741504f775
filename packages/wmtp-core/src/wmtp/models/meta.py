"""Meta's multi-token-prediction checkpoints: ``params.json``, ``consolidated.pth`` and a SentencePiece tokenizer.

The layout of the hub repository facebook/multi-token-prediction: ``tokenizer.model`` at the root, a folder per variant.
Tensors are converted one by one from a memory map, and each one's pages are given back, so that the file is never in memory
beside the model.
"""

from __future__ import annotations

import ctypes
import mmap
import pickle
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from wmtp import json_text
from wmtp.errors import ConfigError, PluginError, ResourceError
from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

BOS, EOS = 1, 2
CONTEXT = 4096
_LAYER = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_TOP = {"tok_embeddings.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
_TOP["output.weight"] = "lm_head.weight"
_ZIP = b"PK\x03\x04"
_WHOLE = ("dim", "n_layers", "n_heads", "n_kv_heads", "multiple_of", "vocab_size", "n_future_tokens")
_REAL = ("ffn_dim_multiplier", "norm_eps", "rope_theta")
_IGNORED = ("rope.freqs",)  # buffers that some checkpoints carry and every model computes anew


@attrs.frozen
class Params:
    """params.json with its defaults filled in. `layers` counts all blocks, extra heads included."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    norm_eps: float
    rope_theta: float
    n_future: int
    vocab: int


def variant_name(folder: Path, root: Path, asked: str | None) -> str:
    """Which variant `choose` found, as far as the files say: a folder that was given as it is may be called anything."""
    return folder.name if folder != root or folder.name == asked else ""


def variants(folder: Path) -> dict[str, Path]:
    """Variant → its folder. A folder that holds params.json itself is its own only variant, under its name."""
    if (folder / "params.json").is_file():
        return {folder.name: folder}
    return {p.parent.name: p.parent for p in sorted(folder.glob("*/params.json"))}


def choose(folder: Path, variant: str | None) -> Path:
    """The folder of a variant. Raises ConfigError listing those there are."""
    found = variants(folder)
    if variant in found:
        return found[variant]
    if variant is None and len(found) == 1:
        return next(iter(found.values()))
    if len(found) == 1 and (folder / "params.json").is_file():
        return folder  # a variant's own folder, whatever it is called
    if variant is not None and (not found or (folder / variant).is_dir()):
        raise ConfigError(
            f"{folder} has no {variant}/params.json, which stands beside {variant}/consolidated.pth; fetch it, or name "
            "another variant (--variant, or model.variant in a recipe)"
        )
    if not found:
        lone = sorted(folder.glob("*/consolidated*.pth"))
        beside = f": {lone[0].parent.name}/params.json is missing beside {lone[0].name}" if lone else ""
        raise ConfigError(
            f"{folder} holds no model{beside or ': no config.json, and no params.json in it or in a folder of it'}"
        )
    asked = "name one" if variant is None else f"{variant!r} is none of them"
    raise ConfigError(
        f"{folder} has the variants {', '.join(found)}; {asked} (--variant, or model.variant in a recipe)"
    )


def tokenizer_file(folder: Path) -> Path:
    """``tokenizer.model`` beside params.json, or one level up, where the hub has it."""
    for path in (folder / "tokenizer.model", folder.parent / "tokenizer.model"):
        if path.is_file():
            return path
    raise ResourceError(f"no tokenizer.model in {folder} or {folder.parent}; the hub repository has it at its root")


def read_params(folder: Path, embedding: int) -> Params:
    """Reads params.json. embedding: rows of the embedding matrix, for a vocab_size of −1."""
    path = folder / "params.json"
    try:
        raw = json_text.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResourceError(f"{path} cannot be read: {error}") from None
    raw = raw if isinstance(raw, dict) else {}
    required = ("dim", "n_layers", "n_heads")
    given = {key: number for key, number in raw.items() if number is not None}  # null: the default
    for keys, kinds, kind in ((_WHOLE, int, "whole number"), (_REAL, int | float, "number")):
        wrong = [
            key
            for key in keys
            if (key in given or key in required)
            and (type(given.get(key)) is bool or not isinstance(given.get(key), kinds))
        ]
        if wrong:
            raise ResourceError(f"{path}: {', '.join(wrong)} must be given as a {kind}")
    if low := [key for key in _WHOLE if key != "vocab_size" and given.get(key, 1) < 1]:
        raise ResourceError(f"{path} contradicts itself: {', '.join(low)} must be 1 or more")

    def value(key: str, default: Any) -> Any:
        return given.get(key, default)

    multiple = value("multiple_of", 256)
    hidden = int(2 * 4 * raw["dim"] / 3)
    hidden = int(value("ffn_dim_multiplier", 1.0) * hidden)
    hidden = multiple * ((hidden + multiple - 1) // multiple)
    vocab = value("vocab_size", -1)
    params = Params(
        dim=raw["dim"],
        layers=raw["n_layers"],
        heads=raw["n_heads"],
        kv_heads=value("n_kv_heads", raw["n_heads"]),
        hidden=hidden,
        norm_eps=value("norm_eps", 1e-5),
        rope_theta=float(value("rope_theta", 10_000.0)),
        n_future=value("n_future_tokens", 1),
        vocab=embedding if vocab < 0 else vocab,
    )
    if params.vocab != embedding:
        raise ResourceError(f"{path} says vocab_size {params.vocab}, but the embedding has {embedding} rows")
    if not 1 <= params.n_future < params.layers or params.dim % params.heads or params.heads % params.kv_heads:
        raise ResourceError(f"{path} contradicts itself: {raw}")
    return params


def _open(path: Path) -> dict[str, Tensor]:
    """The checkpoint's tensors as a memory map. Unpickling is restricted to tensors.

    Never in torch's words where it fails: they tell how to load the file without that restriction.
    """
    if not path.is_file():
        parts = path.parent.name
        raise ResourceError(
            f"{path} does not exist; fetch {parts}/consolidated.pth as well: a model takes tokenizer.model, "
            f"{parts}/params.json and {parts}/consolidated.pth"
        )
    damaged = f"{path} is cut off or damaged; fetch it again"
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head and not _ZIP.startswith(head):
            raise ResourceError(f"{path} is no zip file of torch.save (an older format of it, or something else)")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise ResourceError(damaged) from None
    except OSError as error:
        raise ResourceError(f"{path} cannot be read: {error.strerror}") from None
    pickled = next((name for name in names if name.endswith("/data.pkl")), None)
    if pickled is None or any(name.endswith("/constants.pkl") for name in names):
        raise ResourceError(f"{path} is a zip file, but none that torch.save writes; fetch the checkpoint again")
    try:
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError:
        if not _is_intact(path, pickled):
            raise ResourceError(damaged) from None
        raise ResourceError(
            f"{path} holds Python objects, not only tensors: refused, because loading those may run any program"
        ) from None
    except Exception:  # whatever torch raises for bytes that are not there  # noqa: BLE001
        raise ResourceError(damaged) from None
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ResourceError(f"{path} holds something other than named tensors; it is not loaded")
    return found


def _is_intact(path: Path, member: str) -> bool:
    """Whether a member of a zip file has its checksum. Asked only of what was refused: torch can save without any."""
    try:
        with zipfile.ZipFile(path) as archive:
            archive.read(member)
    except Exception:  # whatever a zip file's damage raises  # noqa: BLE001
        return False
    return True


def unpermute(weight: Tensor, heads: int) -> Tensor:
    """Rotary pairs (2i, 2i+1), as Meta interleaves them, to transformers' (i, i + d/2).

    weight: [heads · d, in]. Returns a view: [heads, 2, d / 2, in].
    """
    out, width = weight.shape
    return weight.view(heads, out // heads // 2, 2, width).transpose(1, 2)


def _renamed(params: Params) -> Iterator[tuple[str, str]]:
    """(Meta's name, ours) of every tensor there must be."""
    yield from _TOP.items()
    trunk = params.layers - params.n_future + 1
    blocks = [(f"layers.{i}", f"model.layers.{i}") for i in range(trunk)]
    blocks += [(f"extra_heads.{i}", f"extra_heads.{i}") for i in range(params.n_future - 1)]
    for theirs, ours in blocks:
        for a, b in _LAYER.items():
            yield f"{theirs}.{a}.weight", f"{ours}.{b}.weight"


def _config(params: Params, dtype: torch.dtype) -> MtpLlamaConfig:
    return MtpLlamaConfig(
        vocab_size=params.vocab,
        hidden_size=params.dim,
        intermediate_size=params.hidden,
        num_hidden_layers=params.layers - params.n_future + 1,
        num_attention_heads=params.heads,
        num_key_value_heads=params.kv_heads,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=params.norm_eps,
        rope_theta=params.rope_theta,
        rope_parameters={"rope_type": "default", "rope_theta": params.rope_theta},
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=None,
        n_future_tokens=params.n_future,
        dtype=dtype,
    )


def load_meta(folder: Path, *, dtype: torch.dtype | None, device: str) -> MtpLlamaForCausalLM:
    """A variant's folder → the model, in `dtype` (``None``: as stored).

    A checkpoint with one head gives the same class without extra heads: plain Llama. Raises ResourceError naming missing,
    unexpected and misshapen tensors, before anything is converted.
    """
    path = folder / "consolidated.pth"
    stored = _open(path)
    embedding = stored.get("tok_embeddings.weight")
    if embedding is None:
        raise ResourceError(f"{path} has no tok_embeddings.weight; it is no checkpoint in Meta's format")
    params = read_params(folder, embedding.shape[0])
    dtype = dtype or embedding.dtype
    _fits_roughly(path, params, stored)
    with torch.device("meta"):
        model: MtpLlamaForCausalLM = MtpLlamaForCausalLM(_config(params, dtype)).to(dtype)
    names = dict(_renamed(params))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    _compare(path, stored, names, shapes)
    for theirs, ours in names.items():
        mapped = tensor = stored.pop(theirs)
        if ".wq." in theirs or ".wk." in theirs:
            tensor = unpermute(tensor, params.heads if ".wq." in theirs else params.kv_heads)
        owner, _, attribute = ours.rpartition(".")
        # Written where it stays: what is copied on the way leaves holes in the heap, a fifth of the model in the end.
        converted = torch.empty(mapped.shape, dtype=dtype, device=device)
        converted.view(tensor.shape).copy_(tensor)
        setattr(model.get_submodule(owner), attribute, nn.Parameter(converted, requires_grad=True))
        _give_back(mapped)
    _materialise_buffers(model, device)
    model.generation_config.bos_token_id, model.generation_config.eos_token_id = BOS, EOS
    model.eval()
    return model


def _give_back(mapped: Tensor) -> None:
    """Tells the kernel that this tensor's pages of the file are done with; if read again, they come from the file again."""
    storage = mapped.untyped_storage()
    start = storage.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    length = storage.data_ptr() + storage.nbytes() - start
    ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), ctypes.c_int(mmap.MADV_DONTNEED))


def _fits_roughly(path: Path, params: Params, stored: dict[str, Tensor]) -> None:
    """Refuses sizes that are out of all proportion, since a model of such a size takes forever to build."""
    embedding = list(stored["tok_embeddings.weight"].shape)
    told = ""
    if [params.vocab, params.dim] != embedding:
        told = f"misshapen: tok_embeddings.weight is {embedding}, params.json makes it {[params.vocab, params.dim]}"
    elif params.layers > len(stored):
        told = f"missing: most of {params.layers} layers, since there are {len(stored)} tensors"
    if told:
        raise ResourceError(f"{path} does not fit its params.json. {told}")


def _compare(path: Path, stored: dict[str, Tensor], names: dict[str, str], shapes: dict[str, torch.Size]) -> None:
    missing = sorted(set(names) - set(stored))
    unexpected = sorted(n for n in set(stored) - set(names) if not n.endswith(_IGNORED))
    misshapen = [
        f"{theirs} is {list(stored[theirs].shape)}, params.json makes it {list(shapes[ours])}"
        for theirs, ours in names.items()
        if theirs in stored and stored[theirs].shape != shapes[ours]
    ]
    told = [
        f"{title}: {', '.join(found[:6])}{f' and {len(found) - 6} more' if len(found) > 6 else ''}"
        for title, found in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if found
    ]
    if told:
        raise ResourceError(f"{path} does not fit its params.json. " + "; ".join(told))


def _materialise_buffers(model: MtpLlamaForCausalLM, device: str) -> None:
    """Buffers (rotary frequencies) are computed, not stored: made anew on the real device."""
    rotary = type(model.model.rotary_emb)(config=model.config)
    model.model.rotary_emb = rotary.to(device)


def load_tokenizer(folder: Path, vocabulary: int) -> Any:
    """Meta's SentencePiece model as a fast tokenizer: bos first, ids and text those of SentencePiece itself.

    transformers' own Llama tokenizer differs in two ways that matter for code: it adds no dummy prefix before a leading
    space, and it reads ``<s>`` in a text as a control token.
    """
    path = tokenizer_file(folder)
    try:  # asked first: without them transformers blames the file
        for name in ("sentencepiece", "google.protobuf"):
            import_module(name)
    except ImportError as error:
        raise PluginError(f'reading {path} needs {error.name}: pip install "wmtp-core[torch]"') from None
    from tokenizers import normalizers
    from transformers import LlamaTokenizer, PreTrainedTokenizerFast

    try:
        backend = LlamaTokenizer.from_pretrained(str(path.parent), add_bos_token=True, legacy=False).backend_tokenizer
    except Exception:  # whatever the parsers of a damaged file raise  # noqa: BLE001
        raise ResourceError(f"{path} is damaged, or no SentencePiece model at all; fetch it again") from None
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = None
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    if len(tokenizer) > vocabulary:
        raise ResourceError(f"{path} has {len(tokenizer)} pieces, but the model's vocabulary is {vocabulary}")
    return tokenizer
