"""WMTP: evaluation of multi-token-prediction code models.

This module is the public API. Names are resolved on first use, so that ``import wmtp`` costs nothing: no torch, no
transformers, not even the configuration machinery is loaded until it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    # errors
    "WmtpError": "errors", "ConfigError": "errors", "PluginError": "errors", "ResourceError": "errors",
    "JudgeError": "errors", "GenerationError": "errors", "IncompleteError": "errors",
    # hooks and what plugins register
    "hookimpl": "hookspecs", "CORE_API": "specs", "EvaluatorSpec": "specs", "LoaderSpec": "specs",
    "LoadRequest": "specs", "DatasetSpec": "specs", "DatasetRequest": "specs", "StorageSpec": "specs",
    "ScorerSpec": "specs", "Resource": "specs", "Check": "specs",
    # plugins, configuration, and the entry points of the library
    "create_plugin_manager": "plugins", "Plugins": "plugins",
    "DEFAULT_MODEL_IDS": "config.recipe", "Environment": "config.environment", "Recipe": "config.recipe",
    "load_environment": "config", "load_recipe": "config",
    "LoaderConfig": "loaders", "create_data_loader": "loaders", "create_model_loader": "loaders",
    "CodeBenchmark": "evaluation.benchmark", "HeadMetrics": "evaluation.head_metrics",
    "create_evaluator": "evaluation.api", "evaluate": "evaluation.api", "Results": "evaluation.results",
    # storage
    "Storage": "storage.base", "ReadsInto": "storage.base", "Entry": "storage.base", "Changed": "storage.base",
    # generation
    "Engine": "generation.records", "GenerationRequest": "generation.records", "Completion": "generation.records",
    "Sampling": "generation.records", "Message": "generation.records", "GenerationStats": "generation.records",
    "HeadScores": "generation.records",
    # models; these two import torch and transformers, and register with transformers' Auto classes
    "MtpLlamaConfig": "models.mtp_llama", "MtpLlamaForCausalLM": "models.mtp_llama",
    # judging
    "CallTests": "judging.records", "StdioTests": "judging.records", "StdioCase": "judging.records",
    "Outcome": "judging.records",
    # evaluation
    "EvaluationTask": "evaluation.records", "EvaluationResult": "evaluation.records",
    "MetricValue": "evaluation.records", "Problem": "evaluation.records", "Sample": "evaluation.records",
    "Verdict": "evaluation.records",
}  # fmt: skip

_NEED_TORCH = frozenset({"MtpLlamaConfig", "MtpLlamaForCausalLM"})
# Public like the rest, but not in ``from wmtp import *``: that must work, and stay cheap, where torch is not installed.
__all__ = sorted([*(_HOME.keys() - _NEED_TORCH), "__version__"])

if TYPE_CHECKING:
    from wmtp.config import load_environment as load_environment
    from wmtp.config import load_recipe as load_recipe
    from wmtp.config.environment import Environment as Environment
    from wmtp.config.recipe import DEFAULT_MODEL_IDS as DEFAULT_MODEL_IDS
    from wmtp.config.recipe import Recipe as Recipe
    from wmtp.errors import ConfigError as ConfigError
    from wmtp.errors import GenerationError as GenerationError
    from wmtp.errors import IncompleteError as IncompleteError
    from wmtp.errors import JudgeError as JudgeError
    from wmtp.errors import PluginError as PluginError
    from wmtp.errors import ResourceError as ResourceError
    from wmtp.errors import WmtpError as WmtpError
    from wmtp.evaluation.api import create_evaluator as create_evaluator
    from wmtp.evaluation.api import evaluate as evaluate
    from wmtp.evaluation.benchmark import CodeBenchmark as CodeBenchmark
    from wmtp.evaluation.head_metrics import HeadMetrics as HeadMetrics
    from wmtp.evaluation.records import EvaluationResult as EvaluationResult
    from wmtp.evaluation.records import EvaluationTask as EvaluationTask
    from wmtp.evaluation.records import MetricValue as MetricValue
    from wmtp.evaluation.records import Problem as Problem
    from wmtp.evaluation.records import Sample as Sample
    from wmtp.evaluation.records import Verdict as Verdict
    from wmtp.evaluation.results import Results as Results
    from wmtp.generation.records import Completion as Completion
    from wmtp.generation.records import Engine as Engine
    from wmtp.generation.records import GenerationRequest as GenerationRequest
    from wmtp.generation.records import GenerationStats as GenerationStats
    from wmtp.generation.records import HeadScores as HeadScores
    from wmtp.generation.records import Message as Message
    from wmtp.generation.records import Sampling as Sampling
    from wmtp.hookspecs import hookimpl as hookimpl
    from wmtp.judging.records import CallTests as CallTests
    from wmtp.judging.records import Outcome as Outcome
    from wmtp.judging.records import StdioCase as StdioCase
    from wmtp.judging.records import StdioTests as StdioTests
    from wmtp.loaders import LoaderConfig as LoaderConfig
    from wmtp.loaders import create_data_loader as create_data_loader
    from wmtp.loaders import create_model_loader as create_model_loader
    from wmtp.models.mtp_llama import MtpLlamaConfig as MtpLlamaConfig
    from wmtp.models.mtp_llama import MtpLlamaForCausalLM as MtpLlamaForCausalLM
    from wmtp.plugins import Plugins as Plugins
    from wmtp.plugins import create_plugin_manager as create_plugin_manager
    from wmtp.specs import CORE_API as CORE_API
    from wmtp.specs import Check as Check
    from wmtp.specs import DatasetRequest as DatasetRequest
    from wmtp.specs import DatasetSpec as DatasetSpec
    from wmtp.specs import EvaluatorSpec as EvaluatorSpec
    from wmtp.specs import LoaderSpec as LoaderSpec
    from wmtp.specs import LoadRequest as LoadRequest
    from wmtp.specs import Resource as Resource
    from wmtp.specs import ScorerSpec as ScorerSpec
    from wmtp.specs import StorageSpec as StorageSpec
    from wmtp.storage.base import Changed as Changed
    from wmtp.storage.base import Entry as Entry
    from wmtp.storage.base import ReadsInto as ReadsInto
    from wmtp.storage.base import Storage as Storage


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'wmtp' has no attribute {name!r}")
    value = getattr(import_module(f"wmtp.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_NEED_TORCH])
