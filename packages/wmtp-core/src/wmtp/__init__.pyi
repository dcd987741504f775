# The public API, once: type checkers read it here, and `wmtp.__getattr__` imports each name from where this file says.
__version__: str

from .cli.session import Session as Session
from .comparison.compare import compare as compare
from .comparison.records import Comparison as Comparison
from .config import load_config as load_config
from .config import load_configuration as load_configuration
from .config import load_environment as load_environment
from .config import load_recipe as load_recipe
from .config.config import Config as Config
from .config.plain import to_plain as to_plain
from .config.plain import to_yaml as to_yaml
from .config.recipe import DEFAULT_MODEL_IDS as DEFAULT_MODEL_IDS
from .config.recipe import Recipe as Recipe
from .contracts.architectures import ArchitectureSpec as ArchitectureSpec
from .contracts.architectures import Convention as Convention
from .contracts.engines import Closes as Closes
from .contracts.engines import Completion as Completion
from .contracts.engines import Departure as Departure
from .contracts.engines import Engine as Engine
from .contracts.engines import FindsDepartures as FindsDepartures
from .contracts.engines import GenerationRequest as GenerationRequest
from .contracts.engines import GenerationStats as GenerationStats
from .contracts.engines import HasOrigin as HasOrigin
from .contracts.engines import HasStats as HasStats
from .contracts.engines import HeadScores as HeadScores
from .contracts.engines import KnowsInvariance as KnowsInvariance
from .contracts.engines import Message as Message
from .contracts.engines import Replays as Replays
from .contracts.engines import SampleKey as SampleKey
from .contracts.engines import Sampling as Sampling
from .contracts.engines import ScoresHeads as ScoresHeads
from .contracts.evaluation import EvaluationResult as EvaluationResult
from .contracts.evaluation import EvaluationTask as EvaluationTask
from .contracts.evaluation import EvaluatorStore as EvaluatorStore
from .contracts.evaluation import MetricValue as MetricValue
from .contracts.evaluation import OwnerRun as OwnerRun
from .contracts.evaluation import Problem as Problem
from .contracts.evaluation import Sample as Sample
from .contracts.evaluation import Verdict as Verdict
from .contracts.judging import CallTests as CallTests
from .contracts.judging import Judge as Judge
from .contracts.judging import JudgeRequest as JudgeRequest
from .contracts.judging import JudgeSpec as JudgeSpec
from .contracts.judging import Outcome as Outcome
from .contracts.judging import StdioCase as StdioCase
from .contracts.judging import StdioTests as StdioTests
from .contracts.loading import DatasetRequest as DatasetRequest
from .contracts.loading import Example as Example
from .contracts.loading import LoadRequest as LoadRequest
from .contracts.loading import Resource as Resource
from .contracts.runs import RunRecord as RunRecord
from .contracts.specs import CORE_API as CORE_API
from .contracts.specs import Check as Check
from .contracts.specs import Choice as Choice
from .contracts.specs import CommandSpec as CommandSpec
from .contracts.specs import ControlSpec as ControlSpec
from .contracts.specs import DatasetSpec as DatasetSpec
from .contracts.specs import EvaluatorSpec as EvaluatorSpec
from .contracts.specs import Listener as Listener
from .contracts.specs import LoaderSpec as LoaderSpec
from .contracts.specs import OfKind as OfKind
from .contracts.specs import ReporterSpec as ReporterSpec
from .contracts.specs import Resolved as Resolved
from .contracts.specs import ScorerSpec as ScorerSpec
from .contracts.specs import SectionSpec as SectionSpec
from .contracts.specs import StorageSpec as StorageSpec
from .contracts.specs import TrackerSpec as TrackerSpec
from .contracts.specs import TrainerSpec as TrainerSpec
from .contracts.storage import Entry as Entry
from .contracts.storage import ObjectChanged as ObjectChanged
from .contracts.storage import ReadsInto as ReadsInto
from .contracts.storage import Storage as Storage
from .contracts.tracking import Point as Point
from .contracts.tracking import TrackedRun as TrackedRun
from .contracts.tracking import Tracker as Tracker
from .errors import ConfigError as ConfigError
from .errors import GenerationError as GenerationError
from .errors import JudgeError as JudgeError
from .errors import PluginError as PluginError
from .errors import ResourceError as ResourceError
from .errors import WmtpError as WmtpError
from .evaluation.benchmark import CodeBenchmark as CodeBenchmark
from .evaluation.driver import create_evaluator as create_evaluator
from .evaluation.driver import evaluate as evaluate
from .evaluation.head_metrics import HeadMetrics as HeadMetrics
from .evaluation.listeners import run_listeners as run_listeners
from .evaluation.results import Results as Results
from .generation.in_memory import engine as engine
from .loaders.datasets import create_data_loader as create_data_loader
from .loaders.locations import upload_folder as upload_folder
from .loaders.models import ModelLoader as ModelLoader
from .loaders.models import create_model_loader as create_model_loader
from .loaders.settings import LoaderConfig as LoaderConfig
from .models.architectures.fresh import new_modules as new_modules
from .models.architectures.fresh import save_modules as save_modules
from .models.architectures.load import copy_modules as copy_modules
from .models.load import LoadedModel as LoadedModel
from .models.mtp_llama import MtpLlamaConfig as MtpLlamaConfig
from .models.mtp_llama import MtpLlamaForCausalLM as MtpLlamaForCausalLM
from .plugins import Plugins as Plugins
from .plugins import create_plugin_manager as create_plugin_manager
from .plugins.hookspecs import hookimpl as hookimpl
from .runs.reader import Run as Run
from .runs.reader import list_runs as list_runs
from .runs.reader import open_run as open_run

# Not the two models: ``from wmtp import *`` must work, and stay cheap, where torch is not installed.
__all__ = [
    "CORE_API",
    "DEFAULT_MODEL_IDS",
    "ArchitectureSpec",
    "CallTests",
    "Check",
    "Choice",
    "Closes",
    "CodeBenchmark",
    "CommandSpec",
    "Comparison",
    "Completion",
    "Config",
    "ConfigError",
    "ControlSpec",
    "Convention",
    "DatasetRequest",
    "DatasetSpec",
    "Departure",
    "Engine",
    "Entry",
    "EvaluationResult",
    "EvaluationTask",
    "EvaluatorSpec",
    "EvaluatorStore",
    "Example",
    "FindsDepartures",
    "GenerationError",
    "GenerationRequest",
    "GenerationStats",
    "HasOrigin",
    "HasStats",
    "HeadMetrics",
    "HeadScores",
    "Judge",
    "JudgeError",
    "JudgeRequest",
    "JudgeSpec",
    "KnowsInvariance",
    "Listener",
    "LoadRequest",
    "LoaderConfig",
    "LoaderSpec",
    "Message",
    "MetricValue",
    "ModelLoader",
    "ObjectChanged",
    "OfKind",
    "Outcome",
    "OwnerRun",
    "PluginError",
    "Plugins",
    "Point",
    "Problem",
    "ReadsInto",
    "Recipe",
    "Replays",
    "ReporterSpec",
    "Resolved",
    "Resource",
    "ResourceError",
    "Results",
    "Run",
    "RunRecord",
    "Sample",
    "SampleKey",
    "Sampling",
    "ScorerSpec",
    "ScoresHeads",
    "SectionSpec",
    "Session",
    "StdioCase",
    "StdioTests",
    "Storage",
    "StorageSpec",
    "TrackedRun",
    "Tracker",
    "TrackerSpec",
    "TrainerSpec",
    "Verdict",
    "WmtpError",
    "__version__",
    "compare",
    "create_data_loader",
    "create_evaluator",
    "create_model_loader",
    "create_plugin_manager",
    "engine",
    "evaluate",
    "hookimpl",
    "list_runs",
    "load_config",
    "load_configuration",
    "load_environment",
    "load_recipe",
    "open_run",
    "run_listeners",
    "to_plain",
    "to_yaml",
    "upload_folder",
]
