"""Every hook of WMTP, on one page. A plugin is a module that implements some of these, marked with `wmtp.hookimpl`.

A distribution announces its module in the entry-point group ``wmtp``::

    [project.entry-points.wmtp]
    my-plugin = "my_plugin.plugin"

Registration hooks return small frozen records; import anything heavy inside the factories that the records name.
An implementation may leave out arguments that it does not need.

A hook or an argument is deprecated in one way, pluggy's: ``@hookspec(warn_on_impl=DeprecationWarning("…"))`` for a whole
hook, ``@hookspec(warn_on_impl_args={"old": DeprecationWarning("…")})`` for an argument. The text says what to use instead
and in which `wmtp.CORE_API` the old form ends. Plugins that still have it are loaded and warned, once, until then.
Adding an argument or a hook breaks nobody; a plugin marks a hook that older cores lack with ``optionalhook=True``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wmtp.plugins.markers import hookimpl as hookimpl
from wmtp.plugins.markers import hookspec as hookspec
from wmtp.plugins.runhooks import wmtp_evaluate as wmtp_evaluate
from wmtp.plugins.runhooks import wmtp_run_finished as wmtp_run_finished
from wmtp.plugins.runhooks import wmtp_run_started as wmtp_run_started
from wmtp.plugins.runhooks import wmtp_sample_judged as wmtp_sample_judged

if TYPE_CHECKING:
    from wmtp.contracts.specs import (
        ArchitectureSpec,
        CommandSpec,
        ControlSpec,
        DatasetSpec,
        EvaluatorSpec,
        JudgeSpec,
        LoaderSpec,
        ReporterSpec,
        ScorerSpec,
        SectionSpec,
        StorageSpec,
        TrackerSpec,
        TrainerSpec,
    )


@hookspec
def wmtp_storages() -> Iterable[StorageSpec]:
    """Storage modes: who opens ``storage.mode`` and ``scheme://`` references.

    Returns: any number of `wmtp.StorageSpec`.

    Example:

        import wmtp

        def open_storage(settings):
            from my_plugin.storage import FtpStorage   # heavy imports belong in here
            return FtpStorage(settings)

        def open_url(url, settings):   # settings: None where config.yaml has none of this mode
            from my_plugin.storage import FtpStorage
            host, _, path = url.removeprefix("ftp://").partition("/")
            return FtpStorage(settings, host=host), path

        @wmtp.hookimpl
        def wmtp_storages():
            return [
                wmtp.StorageSpec(
                    mode="ftp", summary="files on an FTP server", open=open_storage, schemes=("ftp",), open_url=open_url
                )
            ]
    """
    raise NotImplementedError


@hookspec
def wmtp_loaders() -> Iterable[LoaderSpec]:
    """Model loaders: who turns a model reference into an engine.

    Returns: any number of `wmtp.LoaderSpec`. One that names a class as its `settings` finds an instance of it in
    ``request.settings``: what the recipe says under ``model.loaders.<name>``.

    Example:

        import wmtp

        def load(request):
            from my_plugin.engine import EchoEngine
            return EchoEngine(request.reference)

        def matches(reference):
            return reference.startswith("echo:")

        @wmtp.hookimpl
        def wmtp_loaders():
            return [wmtp.LoaderSpec(name="echo", summary="repeats the prompt", matches=matches, load=load)]
    """
    raise NotImplementedError


@hookspec
def wmtp_datasets() -> Iterable[DatasetSpec]:
    """Data sets by name: how a file or folder becomes rows.

    Returns: any number of `wmtp.DatasetSpec`.

    Example:

        import json
        import wmtp

        def load(request):
            path = request.fetch().path / f"{request.split}.jsonl"
            with path.open(encoding="utf-8") as lines:
                yield from map(json.loads, lines)

        @wmtp.hookimpl
        def wmtp_datasets():
            return [wmtp.DatasetSpec(name="puzzles", summary="our own puzzles", load=load)]
    """
    raise NotImplementedError


@hookspec
def wmtp_evaluators() -> Iterable[EvaluatorSpec]:
    """Evaluators: which metrics there are, and who answers for them.

    Returns: any number of `wmtp.EvaluatorSpec`. Each id belongs to one plugin; `evaluate` is called for it, or the
    plugin's `wmtp_evaluate`.

    Example:

        import wmtp

        def evaluate(task):
            from my_plugin.benchmark import Puzzles   # a subclass of wmtp.CodeBenchmark
            return Puzzles().evaluate(task)

        @wmtp.hookimpl
        def wmtp_evaluators():
            metrics = ("puzzles_pass@{k}",)
            return [
                wmtp.EvaluatorSpec(
                    id="puzzles-v1", summary="our own puzzles", metrics=metrics, dataset="puzzles", evaluate=evaluate
                )
            ]
    """
    raise NotImplementedError


@hookspec
def wmtp_judges() -> Iterable[JudgeSpec]:
    """Judges: where programs are run against tests, ``judging.where`` of config.yaml.

    Returns: any number of `wmtp.JudgeSpec`. `open` gets the section ``judging`` in its request, and answers with something
    that has the attributes and methods of a `Judge`. Core's own is ``local``: the sandbox on the machine of the run.

    Example:

        import attrs
        import wmtp

        def open_judge(request):
            local = wmtp.create_plugin_manager().judges["local"].spec
            return local.open(attrs.evolve(request, settings=None, workers=1))

        @wmtp.hookimpl
        def wmtp_judges():
            return [wmtp.JudgeSpec(name="one-by-one", summary="the sandbox here, a program at a time", open=open_judge)]
    """
    raise NotImplementedError


@hookspec
def wmtp_scorers() -> Iterable[ScorerSpec]:
    """Token-weight scorers for weighted multi-token-prediction training.

    Returns: any number of `wmtp.ScorerSpec`.

    Example:

        import wmtp

        def create(settings):
            from wmtp.weighting import normalize_weights
            return lambda batch: normalize_weights(batch["scores"], batch["mask"])

        @wmtp.hookimpl
        def wmtp_scorers():
            return [wmtp.ScorerSpec(name="given-v1", summary="scores from the batch", create=create)]
    """
    raise NotImplementedError


@hookspec
def wmtp_controls() -> Iterable[ControlSpec]:
    """Controls of weighted training: what the result would have been had the weights meant nothing, or the contrary.

    Returns: any number of `wmtp.ControlSpec`. A control keeps each row's mean weight; what it draws depends on `keys` alone.

    Example:

        import wmtp

        def create(settings):
            def halved(weights, mask, keys):
                return (weights + 1) / 2   # half of what the scorer says
            return halved

        @wmtp.hookimpl
        def wmtp_controls():
            return [wmtp.ControlSpec(name="halved", summary="weights half as far from 1", create=create)]
    """
    raise NotImplementedError


@hookspec
def wmtp_trainers() -> Iterable[TrainerSpec]:
    """Trainers: who trains a model as a recipe says.

    Returns: any number of `wmtp.TrainerSpec`.

    Example:

        import wmtp

        def train(request):
            from my_plugin.loop import run   # torch is imported in there
            return run(request)

        @wmtp.hookimpl
        def wmtp_trainers():
            return [wmtp.TrainerSpec(name="my-loop", summary="one loop, one process", train=train)]
    """
    raise NotImplementedError


@hookspec
def wmtp_architectures() -> Iterable[ArchitectureSpec]:
    """Architectures: how a checkpoint's multi-token-prediction modules are found and run.

    Returns: any number of `wmtp.ArchitectureSpec`: plain data, by which core finds the modules in a checkpoint, builds them on
    the trunk's own decoder layer, scores them and drafts with them.

    Example:

        import wmtp

        @wmtp.hookimpl
        def wmtp_architectures():
            return [
                wmtp.ArchitectureSpec(
                    name="my-model",
                    summary="My Model: a module behind the trunk's layers",
                    model_types=("my_model",),
                    tensors={
                        "model.mtp.{i}.layer.": "block",
                        "model.mtp.{i}.project.": "eh_proj",
                        "model.mtp.{i}.norm_embedding.": "enorm",
                        "model.mtp.{i}.norm_hidden.": "hnorm",
                        "model.mtp.{i}.norm_out.": "norm",
                    },
                    declared=("num_mtp_layers",),
                    convention=wmtp.Convention(concat="he"),
                )
            ]
    """
    raise NotImplementedError


@hookspec
def wmtp_trackers() -> Iterable[TrackerSpec]:
    """Trackers: where a run's numbers are sent, beside its directory.

    Returns: any number of `wmtp.TrackerSpec`. One is in use where config.yaml has a section ``tracking.<name>``, which its
    class of settings structures. A spec with `target` names a `wmtp.Tracker`: it is made in a process beside the run, which
    hands it what the run's journal holds, again and again where the place does not answer. A spec with `create` hears the
    run's events, on a thread of its own.

    Example:

        import attrs
        import wmtp

        @attrs.frozen(kw_only=True)
        class Settings:
            path: str = "events.txt"   # tracking: {file: {path: …}}

        class File:
            def __init__(self, path):
                self._file = open(path, "a", encoding="utf-8")

            def handle(self, event):
                print(type(event).__name__, file=self._file)

            def close(self):
                self._file.close()

        def create(settings, run):
            return File(settings.path)

        @wmtp.hookimpl
        def wmtp_trackers():
            return [wmtp.TrackerSpec(name="file", summary="events' names in a file", settings=Settings, create=create)]
    """
    raise NotImplementedError


@hookspec
def wmtp_reporters() -> Iterable[ReporterSpec]:
    """Reporters: the forms in which a finished run is shown.

    Returns: any number of `wmtp.ReporterSpec`. `write` receives the run directory and what was read of it, and returns the
    file that it wrote there.

    Example:

        import wmtp

        def write(folder, run):
            path = folder / "report.txt"
            path.write_text("done\\n", encoding="utf-8")
            return path

        @wmtp.hookimpl
        def wmtp_reporters():
            return [wmtp.ReporterSpec(name="text", summary="one word", write=write)]
    """
    raise NotImplementedError


@hookspec
def wmtp_sections() -> Iterable[SectionSpec]:
    """Sections: a plugin's own part of recipe.yaml or config.yaml.

    Returns: any number of `wmtp.SectionSpec`. The section is structured by the plugin's class, as strictly as core's own,
    and is then in ``recipe.sections`` or ``config.sections`` under its name.

    Example:

        import attrs
        import wmtp

        @attrs.frozen(kw_only=True)
        class Greeting:
            name: str = "world"
            times: int = attrs.field(default=1, validator=attrs.validators.ge(1))

        @wmtp.hookimpl
        def wmtp_sections():
            return [wmtp.SectionSpec(name="greeting", summary="whom to greet", settings=Greeting, file="recipe")]
    """
    raise NotImplementedError


@hookspec
def wmtp_commands() -> Iterable[CommandSpec]:
    """Commands: ``wmtp <name>``.

    Returns: any number of `wmtp.CommandSpec`. `target` names a click command, whose module is imported when the command
    runs, or when its own help is asked for. A click command that wants the plugins takes the session by ``@click.pass_obj``.

    Example:

        import wmtp

        @wmtp.hookimpl
        def wmtp_commands():
            return [wmtp.CommandSpec(name="hello", summary="Say hello.", target="my_plugin.commands:hello")]
    """
    raise NotImplementedError
