"""`judging.where: ray`: programs are judged on every node of the cluster, in the same sandbox that judges on one machine."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal

import attrs
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import wmtp
from wmtp.kit import raised
from wmtp_ray import cluster
from wmtp_ray.cluster import connect, node, versions
from wmtp_ray.settings import RayJudgeSettings

log = logging.getLogger("wmtp.ray")

LOOK_S = 2.0
"""Between two looks at the cluster for nodes that came."""
LOSSES = 3
"""Nodes that a program may be on when they are lost, before its verdict is ``infrastructure``."""
AHEAD = 2
"""Programs a node is given for each that it judges at once, so that none waits for us."""
VERSIONED = ("python", "wmtp-core")


def open_ray_judge(request: wmtp.JudgeRequest, settings: RayJudgeSettings) -> RayJudge:
    """Opens the sandbox on every node.

    Raises:
        ConfigError: No cluster, or nodes with other versions.
        JudgeError: No node with processors, or one whose sandbox does not hold.
    """
    connect(settings.address, "judging.where.address")
    judge = RayJudge(request, settings)
    try:
        judge.start()
    except BaseException:
        judge.give_up()
        raise
    return judge


@attrs.frozen(kw_only=True)
class JudgeFacts:
    """What a node says of its sandbox. All but `notes` and `where` must be equal on all nodes."""

    level: Literal["strict", "process"]
    identity: Mapping[str, str]
    versions: Mapping[str, str]
    notes: tuple[str, ...]
    where: str


class JudgeActor:
    """On a node: its sandbox, opened as ``judging.where: local`` opens it there. Errors are answered, not raised."""

    def __init__(self, request: wmtp.JudgeRequest) -> None:
        self._request = request
        self._judge: wmtp.Judge | None = None

    def open(self) -> JudgeFacts | Exception:
        try:
            self._judge = wmtp.create_plugin_manager().judges["local"].spec.open(self._request)
            found = {name: version for name, version in versions().items() if name in VERSIONED}
            return JudgeFacts(
                level=self._judge.level,
                identity=dict(self._judge.identity),
                versions=found,
                notes=tuple(self._judge.notes),
                where=node(),
            )
        except Exception as error:  # noqa: BLE001  (raised again in the driver)
            return wmtp.JudgeError(f"{node()}: {raised(error)}")

    def alive(self) -> None:
        """Answers beside whatever is judged: there is a thread more than programs are given."""

    def judge(self, code: str, tests: wmtp.CallTests | wmtp.StdioTests) -> wmtp.Outcome | Exception:
        assert self._judge is not None
        try:
            return self._judge.submit(code, tests).result()
        except Exception as error:  # noqa: BLE001  (raised again in the driver)
            return raised(error)

    def close(self) -> None:
        if self._judge is not None:
            self._judge.close()


@attrs.define(eq=False)
class _Job:
    """A program on its way."""

    code: str
    tests: wmtp.CallTests | wmtp.StdioTests
    future: Future[wmtp.Outcome] = attrs.field(factory=Future)
    losses: int = 0


@attrs.define(eq=False)
class _Node:
    """A node that judges: its actor, how many programs it judges at once, and what it holds.

    Attributes:
        asked: The question for a sign of life that is under way.
        silent: How many looks ago it was put.
    """

    id: str
    actor: Any
    workers: int
    held: int = 0
    asked: Any = None
    silent: int = 0

    @property
    def room(self) -> int:
        return self.workers * AHEAD - self.held


class RayJudge:
    """See `wmtp.Judge`. Made by `open_ray_judge`.

    A node that is lost costs nothing: its programs go to the others. One that comes later joins.
    """

    def __init__(self, request: wmtp.JudgeRequest, settings: RayJudgeSettings) -> None:
        self._request, self._settings = request, settings
        self._changed = threading.Condition()
        self._nodes: dict[str, _Node] = {}
        self._left_out: set[str] = set()
        self._waiting: deque[_Job] = deque()
        self._under_way = 0
        self._alone_since: float | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="ray-judge", daemon=True)
        self._facts: JudgeFacts | None = None
        self.notes: tuple[str, ...] = ()

    @property
    def level(self) -> Literal["strict", "process"]:
        assert self._facts is not None
        return self._facts.level

    @property
    def identity(self) -> Mapping[str, str]:
        """As a local judge's: verdicts do not depend on where they were found."""
        assert self._facts is not None
        return self._facts.identity

    # Nodes

    def start(self) -> None:
        """Opens the sandbox on all nodes that there are, side by side; see `open_ray_judge`."""
        found = self._new_nodes()
        if not found:
            wanted = ", ".join(f"{k}: {v:g}" for k, v in self._settings.resources.items())
            raise wmtp.JudgeError(
                f"judging.where: no node of the cluster has processors{' and ' + wanted if wanted else ''}: 'ray status' says "
                "what there is"
            )
        opening = [(place, place.actor.open.remote()) for place in found]
        for place, answer in opening:
            self._join(place, self._opened(place, answer))
        self._watcher.start()

    def _new_nodes(self) -> list[_Node]:
        """An actor, with no sandbox yet, for each node that has none."""
        request = attrs.evolve(self._request, notify=None, settings=None)
        made: Any = ray.remote(JudgeActor)
        found = []
        for row in ray.nodes():  # type: ignore[no-untyped-call]
            resources, name = row.get("Resources", {}), str(row["NodeID"])
            there = all(resources.get(k, 0) >= v for k, v in self._settings.resources.items())
            processors = int(resources.get("CPU", 0))
            if not row["Alive"] or not processors or not there or name in self._nodes or name in self._left_out:
                continue
            workers = processors if request.workers == "auto" else request.workers
            actor = made.options(
                num_cpus=0,  # programs are judged beside the engines, as on one machine
                max_restarts=0,
                max_concurrency=workers * AHEAD + 1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False),
            ).remote(attrs.evolve(request, workers=workers))
            found.append(_Node(id=name, actor=actor, workers=workers))
        return found

    def _opened(self, place: _Node, answer: Any) -> JudgeFacts:
        """What the actor says of its sandbox. Raises JudgeError."""
        try:
            facts = ray.get(answer, timeout=self._settings.patience_s)
        except GetTimeoutError:
            raise wmtp.JudgeError(
                f"judging.where: the node {place.id[:8]} has not opened its sandbox within {self._settings.patience_s:g} s "
                "(judging.where.patience_s): its processes are stopped, or it has no time for them; look at 'ray status' and "
                "at that machine, or leave it out with judging.where.resources"
            ) from None
        except RayError as error:
            why = " ".join(str(error).split())[-300:]
            raise wmtp.JudgeError(
                f"judging.where: a node cannot judge: {why}. Every node needs the same versions of wmtp-core and wmtp-ray."
            ) from None
        if isinstance(facts, Exception):
            raise wmtp.JudgeError(
                f"judging.where: a node cannot judge: {facts}. `wmtp doctor` on that node says what its sandbox lacks. To "
                "leave such nodes out, give the others a resource (ray start --resources) and name it in "
                "judging.where.resources; judging.where: local judges on this machine alone."
            )
        return facts  # type: ignore[no-any-return]

    def _join(self, place: _Node, facts: JudgeFacts) -> None:
        """Takes a node in. Raises ConfigError where it would judge otherwise than the first."""
        first = self._facts = self._facts or facts
        for ours, theirs in (
            ({"level": first.level, **first.versions}, {"level": facts.level, **facts.versions}),
            (first.identity, facts.identity),
        ):
            if ours != theirs:
                differing = "; ".join(
                    f"{key} {ours.get(key, 'none')} here and {theirs.get(key, 'none')} there"
                    for key in sorted({*ours, *theirs})
                    if ours.get(key) != theirs.get(key)
                )
                raise wmtp.ConfigError(
                    f"judging.where: the nodes {first.where} and {facts.where} would judge differently: {differing}. "
                    "Verdicts of one run come from one kind of sandbox: install the same on both, and set judging.level to "
                    "one that both have."
                )
        for note in facts.notes:
            if note not in self.notes:
                self.notes = (*self.notes, note)
                if self._request.notify:
                    self._request.notify(note)
        with self._changed:
            self._nodes[place.id] = place
            self._alone_since = None
            self._hand_out()

    def _watch(self) -> None:
        """Takes in nodes that come. One that cannot judge is left out, and said: a run does not end for a guest."""
        while not self._ended.wait(LOOK_S):
            try:
                self._give_up_silent()
                for place in self._new_nodes():
                    try:
                        self._join(place, self._opened(place, place.actor.open.remote()))
                    except wmtp.WmtpError as error:
                        self._left_out.add(place.id)
                        ray.kill(place.actor)
                        log.warning("left out of judging: %s", error)
            except Exception as error:  # noqa: BLE001  (the connection to the cluster is gone, say)
                self._fail(wmtp.JudgeError(f"judging.where: the cluster cannot be asked: {error}"))
                return
            since = self._alone_since
            if since is not None and time.monotonic() - since > self._settings.patience_s:
                self._fail(
                    wmtp.JudgeError(
                        f"judging.where: no node has judged for {self._settings.patience_s:g} s: all were lost. What was "
                        "judged is kept, and the same command goes on."
                    )
                )
                return

    def _give_up_silent(self) -> None:
        """Ends actors that show no sign of life: Ray then says that what they hold is lost."""
        for place in list(self._nodes.values()):
            place.silent += 1  # looks and not seconds: a job that was suspended whole, us included, has missed one
            if place.asked is None or ray.wait([place.asked], timeout=0)[0]:
                place.asked, place.silent = place.actor.alive.remote(), 0
            elif place.silent * LOOK_S > cluster.SILENT_S:
                log.warning(
                    "the node %s judges no more, and what it held is judged by others; %s",
                    place.id[:8],
                    cluster.silence(),
                )
                with self._changed:
                    self._nodes.pop(place.id, None)
                    if not self._nodes and self._alone_since is None:
                        self._alone_since = time.monotonic()
                ray.kill(place.actor)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            jobs, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for job in jobs:
            job.future.set_exception(error)

    # Programs

    def submit(self, code: str, tests: wmtp.CallTests | wmtp.StdioTests) -> Future[wmtp.Outcome]:
        """Queues one program; blocks while the queue is full.

        Raises:
            JudgeError: All nodes were lost for too long.
        """
        if isinstance(tests, wmtp.StdioTests):
            tests = attrs.evolve(tests, cases=tuple(tests.cases))
        job = _Job(code, tests)
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._has_room())
            if self._error is not None:
                raise self._error
            self._waiting.append(job)
            self._hand_out()
        return job.future

    def _has_room(self) -> bool:
        return not self._waiting and any(place.room > 0 for place in self._nodes.values())

    def _hand_out(self) -> None:
        """Gives what waits to the nodes that hold least. Called with the lock held."""
        while self._waiting and self._nodes:
            freest = max(self._nodes.values(), key=lambda place: place.room)
            if freest.room <= 0:
                break
            job = self._waiting.popleft()
            freest.held += 1
            self._under_way += 1
            answer = freest.actor.judge.remote(job.code, job.tests)
            answer.future().add_done_callback(partial(self._done, freest, job))
        self._changed.notify_all()

    def _done(self, place: _Node, job: _Job, answer: Future[Any]) -> None:
        """A node answered, or is lost. Called on a thread of Ray's."""
        failed = answer.exception()
        outcome = None if failed else answer.result()
        if isinstance(failed, RayTaskError):
            outcome = wmtp.JudgeError(f"judging.where: {' '.join(str(failed).split())[-300:]}")
        with self._changed:
            place.held -= 1
            self._under_way -= 1
            if outcome is None:
                outcome = self._lost(place, job, failed)
            if outcome is None and self._error is not None:
                outcome = self._error
            if outcome is None:
                self._waiting.appendleft(job)
            self._hand_out()
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        elif outcome is not None:
            job.future.set_result(outcome)

    def _lost(self, place: _Node, job: _Job, why: BaseException | None) -> wmtp.Outcome | None:
        """Forgets a node. What it held is judged by others, unless every node that has it is lost."""
        if self._nodes.pop(place.id, None) is not None:
            log.warning("a node that judged is lost: %s", " ".join(str(why).split())[:200])
        if not self._nodes and self._alone_since is None:
            self._alone_since = time.monotonic()
        job.losses += 1
        if job.losses < LOSSES:
            return None
        return wmtp.Outcome(status="infrastructure", detail=f"the nodes that judged it were lost {LOSSES} times")

    def close(self) -> None:
        """Waits for what is queued, then ends the sandboxes."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not (self._waiting or self._under_way))
        self._ended.set()
        self._watcher.join(timeout=30)
        closing = [place.actor.close.remote() for place in self._nodes.values()]
        ray.wait(closing, num_returns=len(closing), timeout=30) if closing else None
        self.give_up()

    def give_up(self) -> None:
        """Ends the actors, and with them their sandboxes, whatever they do."""
        self._ended.set()
        for place in self._nodes.values():
            ray.kill(place.actor)
        self._nodes = {}
