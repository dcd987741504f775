"""Ten families with the names that released checkpoints have: found, named, run as transformers runs them, kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from wmtp.contracts.architectures import Convention
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import GenerationError, ResourceError
from wmtp.generation.engine import DecodingEngine
from wmtp.models.architectures.families import FAMILIES
from wmtp.models.architectures.load import Checkpoint, copy_modules
from wmtp.models.architectures.module import SequentialModules
from wmtp.models.convert import convert
from wmtp.models.load import load_model
from wmtp.testing.mtp_models import MTP_FAMILIES, TinyMtp, write_mtp_model

Make = Callable[..., TinyMtp]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Any) -> Make:
    made: dict[str, TinyMtp] = {}

    def get(family: str) -> TinyMtp:
        if family not in made:
            made[family] = write_mtp_model(tmp_path_factory.mktemp("mtp") / family, family)
            byte_tokenizer.save_pretrained(made[family].folder)
        return made[family]

    return get


@pytest.fixture
def own(tmp_path: Path, byte_tokenizer: Any) -> Make:
    """A checkpoint that a test may spoil."""

    def get(family: str, **options: Any) -> TinyMtp:
        tiny = write_mtp_model(tmp_path / family, family, **options)
        byte_tokenizer.save_pretrained(tiny.folder)
        return tiny

    return get


def edit(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def loaded(folder: Path) -> Any:
    return load_model(folder, device="cpu", dtype="float32", architectures=FAMILIES)


@pytest.mark.parametrize("family", MTP_FAMILIES)
def test_modules_are_found_and_named(make: Make, family: str) -> None:
    model = loaded(make(family).folder)
    assert (model.heads.family, model.heads.modules, model.heads.declared) == (family, 1, 1)
    assert (model.heads.used, model.heads.why) == (True, "")
    assert model.modules.count == 1


@pytest.mark.parametrize("family", MTP_FAMILIES)
def test_a_whole_text_is_what_transformers_modules_make_of_it(make: Make, family: str) -> None:
    tiny = make(family)
    modules: SequentialModules = loaded(tiny.folder).modules
    ids = torch.randint(3, 250, (1, 21), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before, behind = modules.trunk.run(input_ids=ids, use_cache=False)
        assert torch.allclose(modules.trunk.project(behind), tiny.trunk(ids).logits, atol=1e-5)
        found = modules.normed(0, modules.all_states(ids, modules.first_hidden(before, behind), 1)[0])[:, :-1]
        layer = tiny.modules.layers[0]
        hidden = before if family == "ernie4.5" else behind
        embedded = tiny.modules.embed_tokens(ids[:, 1:])
        if modules.convention.zero_first:
            embedded[:, 0] = 0
        if family == "ernie4.5":
            layer.post_norm = tiny.trunk.model.norm
        positions = torch.arange(1, ids.shape[1])[None]
        wanted = tiny.modules.forward_layer(0, hidden[:, :-1], positions, None, inputs_embeds=embedded)
    assert torch.allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("family", MTP_FAMILIES)
def test_a_whole_text_is_equal_to_one_position_at_a_time(make: Make, family: str) -> None:
    modules: SequentialModules = loaded(make(family).folder).modules
    ids = torch.randint(3, 250, (1, 13), generator=torch.Generator().manual_seed(2))
    steps = 3
    with torch.inference_mode():
        hidden = modules.first_hidden(*modules.trunk.run(input_ids=ids, use_cache=False))
        whole = modules.all_states(ids, hidden, steps)
        memory = _OneByOne()
        for p in range(ids.shape[1] - steps):
            state, kept = hidden[:, p : p + 1], memory.length
            for step in range(steps):
                at = p + 1 + step
                mask = torch.zeros(1, 1, 1, memory.length + 1)
                state = modules(step, state, ids[:, at : at + 1], torch.tensor([[at]]), mask, memory)
                wanted = whole[step][:, p]
                assert float((state[:, 0] - wanted).abs().max()) < 1e-5 * float(wanted.abs().max()), (p, step)
                state = modules.chained(step, state)
            memory.cut(kept + 1)  # further runs at this position are not the next one's past


class _OneByOne:
    def __init__(self) -> None:
        self._parts: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def length(self) -> int:
        return 0 if self._parts is None else self._parts[0].shape[2]

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> Any:
        if self._parts is not None:
            keys, values = (torch.cat([a, b], 2) for a, b in zip(self._parts, (keys, values), strict=True))
        self._parts = keys, values
        return self._parts

    def cut(self, length: int) -> None:
        assert self._parts is not None
        self._parts = self._parts[0][:, :, :length], self._parts[1][:, :, :length]


@pytest.mark.parametrize("family", MTP_FAMILIES)
def test_modules_are_copied_beside_what_transformers_saves(make: Make, tmp_path: Path, family: str) -> None:
    tiny = make(family)
    first = loaded(tiny.folder)
    first.model.save_pretrained(tmp_path / "saved")
    first.tokenizer.save_pretrained(tmp_path / "saved")
    assert copy_modules(tiny.folder, tmp_path / "saved", FAMILIES) == len(tiny.names)
    again = loaded(tmp_path / "saved")
    assert (again.heads.family, again.heads.used) == (family, True)
    for name, tensor in first.modules.state_dict().items():
        assert torch.equal(tensor, again.modules.state_dict()[name]), name
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    assert copy_modules(tiny.folder, tmp_path / "saved", FAMILIES) == 0, "once is enough"


@pytest.mark.parametrize("family", ["qwen3.5", "deepseek-v3", "mimo"])
@pytest.mark.parametrize("layout", ["bin", "safetensors"])
def test_convert_keeps_modules(own: Make, tmp_path: Path, family: str, layout: str) -> None:
    tiny = own(family)
    first, file = loaded(tiny.folder), tiny.folder / "model.safetensors"
    wanted = {name: tensor.clone() for name, tensor in first.modules.state_dict().items()}
    if layout == "bin":
        torch.save(load_file(file), tiny.folder / "pytorch_model.bin")
        file.unlink()
    options = {"dtype": "float64"} if layout == "safetensors" else {}
    convert(tiny.folder, tmp_path / "converted", architectures=FAMILIES, **options)
    again = loaded(tmp_path / "converted")
    assert (again.heads.family, again.heads.used, again.heads.why) == (family, True, "")
    for name, tensor in wanted.items():
        assert torch.equal(tensor, again.modules.state_dict()[name]), name
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_layer_counts_that_no_pattern_names_load(own: Make) -> None:
    tiny = own("deepseek-v3")
    assert all(name.startswith("model.layers.3.") for name in tiny.names)
    assert loaded(tiny.folder).heads.used


def test_more_layers_than_config_json_has_stay_an_error(own: Make) -> None:
    tiny = own("mimo")
    edit(tiny.folder, num_hidden_layers=2)
    with pytest.raises(ResourceError, match=r"no place for: model\.layers\.2"):
        loaded(tiny.folder)


def test_heads_that_config_json_declares_and_nobody_stored_are_told(own: Make) -> None:
    tiny = own("qwen3.5")
    file = tiny.folder / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if k not in tiny.names}, file, metadata={"format": "pt"})
    model = loaded(tiny.folder)
    assert (model.heads.used, model.heads.declared, model.heads.modules) == (False, 1, 0)
    assert "declares 1 multi-token-prediction module, but no tensors" in model.heads.why
    assert model.modules is None


def test_norms_that_no_training_touched_are_told(own: Make) -> None:
    tiny = own("glm4-moe")
    file = tiny.folder / "model.safetensors"
    tensors = load_file(file)
    for name in tiny.names:
        if "norm" in name:
            tensors[name].fill_(1)
    save_file(tensors, file, metadata={"format": "pt"})
    assert "look untrained" in loaded(tiny.folder).heads.why


def test_tensors_of_another_shape_cost_the_heads_and_not_the_model(own: Make) -> None:
    tiny = own("mimo")
    file = tiny.folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.mtp_layers.0.input_proj.weight"] = torch.zeros(64, 64)
    save_file(tensors, file, metadata={"format": "pt"})
    model = loaded(tiny.folder)
    assert model.modules is None
    assert "eh_proj: weight is [64, 64], the trunk's configuration makes it [64, 128]" in model.heads.why


def test_a_tensor_that_is_missing_costs_the_heads_and_not_the_model(own: Make) -> None:
    tiny = own("qwen3-next")
    file = tiny.folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["mtp.layers.0.mlp.experts.2.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    model = loaded(tiny.folder)
    assert not model.heads.used
    assert "experts mlp.experts.* are not complete" in model.heads.why


def test_modules_of_an_unknown_family_are_told(own: Make) -> None:
    tiny = own("mimo")
    file = tiny.folder / "model.safetensors"
    tensors = {k: v for k, v in load_file(file).items() if k not in tiny.names}
    tensors |= {"mtp.heads.0.w1": torch.zeros(2, 2), "mtp.heads.0.w2": torch.zeros(2, 2)}
    save_file(tensors, file, metadata={"format": "pt"})
    model = loaded(tiny.folder)
    assert (model.heads.family, model.heads.used) == ("unknown", False)
    assert "2 tensors of modules of no known family (mtp.heads.0.w1" in model.heads.why


def test_a_family_is_known_by_its_names_where_the_model_type_is_not(own: Make) -> None:
    tiny = own("mimo")
    edit(tiny.folder, model_type="qwen2")
    heads = loaded(tiny.folder).heads
    assert (heads.family, heads.used) == ("mimo", True)
    assert "no record is for model type qwen2" in heads.why


def _shards(folder: Path, modules: set[str]) -> None:
    """Two files and an index; the modules have the second to themselves."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    file.unlink()
    parts = {
        "model-1.safetensors": {k: v for k, v in tensors.items() if k not in modules},
        "model_mtp.safetensors": {k: v for k, v in tensors.items() if k in modules},
    }
    for name, part in parts.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {k: name for name, part in parts.items() for k in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_a_shard_of_modules_alone_may_be_missing(own: Make) -> None:
    tiny = own("glm4-moe")
    _shards(tiny.folder, set(tiny.names))
    assert loaded(tiny.folder).heads.used
    (tiny.folder / "model_mtp.safetensors").unlink()
    model = loaded(tiny.folder)
    assert not model.heads.used
    assert "model_mtp.safetensors is missing, which holds them" in model.heads.why
    ids = torch.tensor([[1, 5, 9]])
    assert torch.allclose(model.model(ids).logits, tiny.trunk(ids).logits, atol=1e-5)


def test_a_shard_of_modules_alone_may_be_cut_off(own: Make) -> None:
    tiny = own("mimo")
    _shards(tiny.folder, set(tiny.names))
    file = tiny.folder / "model_mtp.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    model = loaded(tiny.folder)
    assert not model.heads.used
    assert "model_mtp.safetensors is cut off or damaged" in model.heads.why
    ids = torch.tensor([[1, 5, 9]])
    assert torch.allclose(model.model(ids).logits, tiny.trunk(ids).logits, atol=1e-5)
    other = tiny.folder / "model-1.safetensors"
    other.write_bytes(other.read_bytes()[: other.stat().st_size // 2])
    with pytest.raises(ResourceError, match=r"model-1\.safetensors is cut off or damaged.*Fetch it again"):
        loaded(tiny.folder)


def test_shards_without_an_index_are_told(own: Make) -> None:
    tiny = own("mimo")
    _shards(tiny.folder, set(tiny.names))
    (tiny.folder / "model.safetensors.index.json").unlink()
    with pytest.raises(ResourceError, match=r"neither model\.safetensors nor model\.safetensors\.index\.json"):
        loaded(tiny.folder)


def test_modules_whose_logits_are_not_finite_are_named(own: Make) -> None:
    tiny = own("mimo")
    file = tiny.folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.mtp_layers.0.input_proj.weight"] *= 1e38
    save_file(tensors, file, metadata={"format": "pt"})
    model = loaded(tiny.folder)
    engine = DecodingEngine(model.model, model.tokenizer, identity={}, stored=model.stored_modules)
    with pytest.raises(GenerationError, match="the logits of draft 1 are not finite"):
        engine.head_scores("a", "bcd")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("family", "name"),
    [("mimo", "model.mtp_layers.0.token_layernorm"), ("mimo", "model.mtp_layers.0.input_proj"), ("qwen3.5", "mtp.fc")],
)
def test_modules_that_hold_no_numbers_are_not_used(own: Make, family: str, name: str, value: float) -> None:
    """Norms are looked at when the trunk is loaded, other weights when something is to be drafted."""
    tiny = own(family)
    file, name = tiny.folder / "model.safetensors", f"{name}.weight"
    tensors = load_file(file)
    tensors[name].view(-1)[-1] = value
    save_file(tensors, file, metadata={"format": "pt"})
    model = loaded(tiny.folder)
    said = f"not used: model.safetensors: {name} holds something that is no number"

    def engine(**options: Any) -> DecodingEngine:
        stored = model.stored_modules
        return DecodingEngine(
            model.model, model.tokenizer, identity={}, stored=stored, heads=model.heads, origin={"heads": ""}, **options
        )

    made = engine()
    assert made.heads.why == said
    assert not made.heads.used
    assert not made.depth
    if model.heads.used:
        assert made.origin["heads"].endswith(said)
        with pytest.raises(GenerationError, match="asks for drafts, and the modules are not used"):
            engine(n_heads=2)
        assert engine(speculative="off").heads.used, "nothing was read"
    else:
        assert said in str(model.heads)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.bool, torch.uint8])
def test_modules_stored_as_integers_are_not_used(own: Make, dtype: torch.dtype) -> None:
    tiny = own("mimo")
    file, name = tiny.folder / "model.safetensors", "model.mtp_layers.0.input_proj.weight"
    tensors = load_file(file)
    tensors[name] = tensors[name].to(dtype)
    save_file(tensors, file, metadata={"format": "pt"})
    heads = loaded(tiny.folder).heads
    assert not heads.used
    assert f"not used: model.safetensors: {name} is stored as " in heads.why


def test_a_shard_of_the_trunk_may_not(own: Make) -> None:
    tiny = own("mimo")
    _shards(tiny.folder, set(tiny.names))
    (tiny.folder / "model-1.safetensors").unlink()
    with pytest.raises(ResourceError, match=r"model-1\.safetensors is missing: .* Fetch it as well"):
        loaded(tiny.folder)


def test_an_index_that_is_none_is_told(own: Make) -> None:
    tiny = own("mimo")
    (tiny.folder / "model.safetensors.index.json").write_text('{"weight_map": [1]}')
    with pytest.raises(ResourceError, match="is no index of safetensors"):
        loaded(tiny.folder)


def test_a_copy_of_the_output_matrix_is_not_held_twice(own: Make) -> None:
    tiny = own("deepseek-v3")
    file = tiny.folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.3.shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    tensors["model.layers.3.embed_tokens.weight"] = tensors["model.embed_tokens.weight"] + 1
    save_file(tensors, file, metadata={"format": "pt"})
    module = loaded(tiny.folder).modules.module(0)
    assert module.head is None
    assert module.embed_tokens is not None


def test_a_kind_of_layer_that_the_trunk_lacks_is_not_made_from_another(own: Make) -> None:
    tiny = own("exaone")
    edit(tiny.folder, layer_types=["sliding_attention"] * 3)
    heads = loaded(tiny.folder).heads
    assert not heads.used
    assert "no layer of kind full_attention" in heads.why


def test_conventions_are_not_the_same_function(make: Make) -> None:
    modules: SequentialModules = loaded(make("glm4-moe").folder).modules
    ids = torch.randint(3, 250, (1, 9), generator=torch.Generator().manual_seed(3))
    found = []
    with torch.inference_mode():
        states = modules.trunk.run(input_ids=ids, use_cache=False)
        for convention in (
            Convention(),
            Convention(concat="he"),
            Convention(hidden="pre"),
            Convention(zero_first=True),
            Convention(chain="pre"),
        ):
            modules.convention = convention
            found.append(modules.all_states(ids, modules.first_hidden(*states), 2)[1])
    assert all(not torch.allclose(a, b) for i, a in enumerate(found) for b in found[:i])


def test_a_folder_is_looked_at_without_loading_it(make: Make) -> None:
    checkpoint = Checkpoint.look(make("ernie4.5").folder, FAMILIES)
    assert checkpoint.found.spec is not None
    assert checkpoint.found.spec.name == "ernie4.5"
    assert checkpoint.found.names == set(make("ernie4.5").names)


@pytest.mark.parametrize("family", ["deepseek-v3", "qwen3.5", "mimo"])
def test_modules_are_run_in_the_trunks_own_dtype(own: Make, family: str) -> None:
    """As released checkpoints are stored, and as they are run without a word about it."""
    tiny = own(family)
    path = tiny.folder / "model.safetensors"
    save_file({n: t.bfloat16() for n, t in load_file(path).items()}, path, metadata={"format": "pt"})
    edit(tiny.folder, dtype="bfloat16")
    found = load_model(tiny.folder, device="cpu", architectures=FAMILIES)
    assert found.heads.used, found.heads.why
    assert {p.dtype for p in found.modules.parameters() if p.dim() > 1} == {torch.bfloat16}
    made = DecodingEngine(found.model, found.tokenizer, identity={}, stored=found.stored_modules, speculative="always")
    request = GenerationRequest(
        key=SampleKey(evaluator="e", problem="p", index=0), prompt="def f(x):", max_new_tokens=8
    )
    (written,) = made.generate([request], Sampling())
    assert not written.error
    assert made.stats.drafted[0]


@pytest.mark.parametrize("family", ["deepseek-v3", "qwen3.5"])
def test_modules_in_pytorch_files_are_seen_and_run(own: Make, family: str) -> None:
    tiny = own(family)
    first = loaded(tiny.folder)
    scores = first.modules.state_dict()
    held = load_file(tiny.folder / "model.safetensors")
    (tiny.folder / "model.safetensors").unlink()
    torch.save(held, tiny.folder / "pytorch_model.bin")
    again = loaded(tiny.folder)
    assert again.heads == first.heads
    for name, tensor in again.modules.state_dict().items():
        assert torch.equal(tensor, scores[name]), name
    torch.save(
        {n: t.to(torch.int8) if n in tiny.names else t for n, t in held.items()}, tiny.folder / "pytorch_model.bin"
    )
    assert "is stored as int8, not as numbers" in loaded(tiny.folder).heads.why
