"""The family that docs/architectures.md adds is found and run, as it stands on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file, save_file

import wmtp
from wmtp.models.load import load_model
from wmtp.testing.byte_tokenizer import byte_tokenizer
from wmtp.testing.mtp_models import write_mtp_model

PAGE = Path(__file__).parents[1] / "docs/architectures.md"


def test_the_family_of_the_page_is_found_built_and_run(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    plugin = ModuleType("stranger")
    exec(code, vars(plugin))
    plugins = wmtp.create_plugin_manager(plugins=[plugin], entry_points=False)
    records = tuple(owned.spec for owned in plugins.architectures.values())

    tiny = write_mtp_model(tmp_path / "model", "mimo")
    file = tiny.folder / "model.safetensors"
    theirs = {
        "input_proj": "join", "token_layernorm": "norm_token", "hidden_layernorm": "norm_state", "final_layernorm": "norm_out",
    }  # fmt: skip

    def renamed(name: str) -> str:
        if name not in tiny.names:
            return name
        rest = name.removeprefix("model.mtp_layers.0.")
        return (
            f"draft.0.{theirs[rest.split('.')[0]]}.weight" if rest.split(".")[0] in theirs else f"draft.0.layer.{rest}"
        )

    save_file({renamed(k): v for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    config = json.loads((tiny.folder / "config.json").read_text())
    config |= {"model_type": "stranger", "draft_modules": 1}
    del config["num_nextn_predict_layers"]
    (tiny.folder / "config.json").write_text(json.dumps(config))
    byte_tokenizer(("</s>",), eos_token="</s>").save_pretrained(tiny.folder)

    loaded = load_model(tiny.folder, device="cpu", dtype="float32", architectures=records)
    assert str(loaded.heads) == "1 stranger module"
    assert loaded.heads.declared == 1
    ids = torch.tensor([[1, 7, 9, 20, 33]])
    with torch.inference_mode():
        before, behind = loaded.modules.trunk.run(input_ids=ids, use_cache=False)
        (found,) = loaded.modules.all_states(ids, loaded.modules.first_hidden(before, behind), 1)
        embedded = tiny.modules.embed_tokens(ids[:, 1:])
        wanted = tiny.modules.forward_layer(0, before[:, :-1], torch.arange(1, 5)[None], None, inputs_embeds=embedded)
    assert torch.allclose(loaded.modules.normed(0, found)[:, :-1], wanted, atol=2e-5)
