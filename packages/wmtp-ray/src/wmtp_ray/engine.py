"""Engines on workers of the cluster, as one engine of the driver's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs
import ray
from ray.exceptions import RayError, RayTaskError

import wmtp
from wmtp.kit import EngineStream, Spread, Taken, WorkerFacts, WorkerLostError, raised
from wmtp_ray.cluster import SilentError, answer_of, check_connected, connect, lacking, node, versions
from wmtp_ray.settings import RaySettings

T = TypeVar("T")
log = logging.getLogger("wmtp.ray")


def open_engine(request: wmtp.LoadRequest, settings: RaySettings) -> Spread:
    """Starts the workers, and waits for the first.

    Raises:
        ConfigError: No cluster, no loader for the model, or nodes with other versions.
        GenerationError: No worker within `patience_s`.
    """
    connect(settings.address)
    inner = attrs.evolve(request, settings=None)
    wanted = {"CPU": settings.num_cpus, "GPU": settings.num_gpus, **settings.resources}
    each = ", ".join(f"{quantity:g} {name}" for name, quantity in wanted.items())
    advice = f"A worker wants {each} (model.loaders.ray): 'ray status' says what the cluster has."
    makers: Sequence[Callable[[], RayWorker]] = [partial(RayWorker, inner, settings)] * settings.workers
    return Spread(makers, window=settings.window, patience_s=settings.patience_s, advice=advice)


class EngineActor:
    """On a worker: the model, opened by the loader that would open it in the driver.

    An error is answered, not raised: Ray would hand on another class.
    """

    @ray.method(concurrency_group="health")
    def alive(self) -> None:
        """Answers beside whatever else is done here."""

    def __init__(self, request: wmtp.LoadRequest, settings: RaySettings) -> None:
        self._request, self._settings = request, settings
        self._stream: EngineStream | None = None

    def open(self) -> WorkerFacts | Exception:
        try:
            return self._opened()
        except Exception as error:  # noqa: BLE001  (raised again in the driver)
            told = raised(error)
            return type(told)(f"{told} (on {node()})")

    def _opened(self) -> WorkerFacts:
        spec = inner_loader(self._request.reference, self._settings)
        options = inner_options(spec, self._settings)
        engine = spec.load(attrs.evolve(self._request, settings=options, threads=max(1, int(self._settings.num_cpus))))
        self._stream = EngineStream(engine, versions(), node())
        return self._stream.facts()

    def give(self, requests: Sequence[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> None:
        assert self._stream is not None
        self._stream.give(requests, sampling)

    def take(self) -> Taken | Exception:
        assert self._stream is not None
        try:
            return self._stream.take()
        except Exception as error:  # noqa: BLE001  (raised again in the driver)
            return raised(error)

    def head_scores(self, prompt: str | Sequence[wmtp.Message], text: str) -> wmtp.HeadScores | Exception:
        assert self._stream is not None
        try:
            return self._stream.head_scores(prompt, text)
        except Exception as error:  # noqa: BLE001  (raised again in the driver)
            return raised(error)

    def departures(self, request: wmtp.GenerationRequest, sampling: wmtp.Sampling, texts: Sequence[str]) -> Any:
        assert self._stream is not None
        try:
            return self._stream.departures(request, sampling, texts)
        except Exception as error:  # noqa: BLE001  (raised again in the driver)
            return raised(error)


class RayWorker:
    """In the driver: one actor. See `wmtp.kit.workers.Worker`."""

    def __init__(self, request: wmtp.LoadRequest, settings: RaySettings) -> None:
        options: dict[str, Any] = {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus}
        options |= {"resources": dict(settings.resources), "max_restarts": 0, "max_task_retries": 0}
        remote: Any = ray.remote  # its types know no groups
        made: Any = remote(concurrency_groups={"health": 1})(EngineActor)
        try:
            self._actor: Any = made.options(**options).remote(request, settings)
        except ValueError as error:  # Ray's own rules for resources
            raise wmtp.ConfigError(f"model.loaders.ray: {' '.join(str(error).split())[:200]}") from None
        self._where = "a worker"
        try:
            self._got(self._actor.alive.remote(), ray.get)  # however long the cluster takes to find room for it
            self._facts: WorkerFacts = self._got(self._actor.open.remote())
        except BaseException:
            self.close()
            raise
        self._where = f"the worker {self._facts.where}"

    def _got(self, reference: Any, wait: Callable[[Any], Any] | None = None) -> Any:
        """What the actor answered. Raises what the engine raised, or that the actor is gone."""
        try:
            answer = wait(reference) if wait else answer_of(self._actor, reference)
            check_connected()  # or what is asked next would open another
        except SilentError as error:
            log.warning("%s is given up, and what it held is asked of others: %s", self._where, error)
            raise WorkerLostError(str(error)) from None
        except RayError as error:
            if (told := lacking(error)) is not None:
                raise told from None
            if not isinstance(error, RayTaskError):
                raise WorkerLostError(" ".join(str(error).split())[:200]) from None
            raise wmtp.GenerationError(f"a Ray worker failed: {' '.join(str(error).split())[-300:]}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def facts(self) -> WorkerFacts:
        return self._facts

    def give(self, requests: Sequence[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> None:
        self._got(self._actor.give.remote(list(requests), sampling))

    def take(self) -> Taken:
        return self._got(self._actor.take.remote())  # type: ignore[no-any-return]

    def head_scores(self, prompt: str | Sequence[wmtp.Message], text: str) -> wmtp.HeadScores:
        return self._got(self._actor.head_scores.remote(prompt, text))  # type: ignore[no-any-return]

    def departures(
        self, request: wmtp.GenerationRequest, sampling: wmtp.Sampling, texts: Sequence[str]
    ) -> Sequence[wmtp.Departure | None] | None:
        return self._got(self._actor.departures.remote(request, sampling, texts))  # type: ignore[no-any-return]

    def close(self) -> None:
        if ray.is_initialized():  # else Ray would connect once more to do so
            ray.kill(self._actor)


def inner_loader(reference: str, settings: RaySettings) -> wmtp.LoaderSpec:
    """The loader of this node's plugins that opens the model. Raises ConfigError."""
    loaders = wmtp.create_plugin_manager().loaders
    if settings.inner is not None:
        if settings.inner not in loaders:
            raise wmtp.ConfigError(
                f"model.loaders.ray.inner: there is no loader {settings.inner!r} on {node()}; "
                f"there are {', '.join(sorted(loaders))}"
            )
        return loaders[settings.inner].spec
    matching = [owned.spec for owned in loaders.values() if owned.spec.matches(reference)]
    if len(matching) > 1:  # one that reads files takes any address: whoever knows this one goes first
        matching = [spec for spec in matching if not spec.fetches] or matching
    if not matching:
        raise wmtp.ConfigError(
            f"model {reference!r}: no loader on {node()} knows it: a path must be there on every node, and what loads the "
            "model be installed; model.loaders.ray.inner names a loader"
        )
    if len(matching) > 1:
        names = ", ".join(spec.name for spec in matching)
        raise wmtp.ConfigError(
            f"model {reference!r}: loaders that match it on {node()}: {names}; choose with model.loaders.ray.inner"
        )
    return matching[0]


def inner_options(spec: wmtp.LoaderSpec, settings: RaySettings) -> Any:
    """The inner loader's own options. Raises ConfigError where it has none, or not these."""
    given = dict(settings.inner_settings)
    if spec.settings is None:
        if given:
            raise wmtp.ConfigError(f"model.loaders.ray.inner_settings: the loader {spec.name} has no options")
        return None
    try:
        return spec.settings(**given)
    except (TypeError, ValueError) as error:
        raise wmtp.ConfigError(f"model.loaders.ray.inner_settings, of the loader {spec.name}: {error}") from None
