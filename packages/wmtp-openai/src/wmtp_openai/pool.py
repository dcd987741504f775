"""Several servers as one: who is asked next, how many requests at once, and when a server counts as gone.

All of it runs on one event loop. The number of requests at once follows what a server can take: halved where it says that it is
too much, one more after as many answers as there were requests at once (additive increase, multiplicative decrease).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import wmtp

LONGEST_PAUSE_S = 20.0
"""Between two attempts at a server that does not answer, where it does not say itself how long to wait."""

MOST_BAD = 4
"""Bad answers of one of several servers, one behind the other, after which it counts as one that does not answer."""


class Server:
    """One server: its client, how much it is asked at once, and since when it fails."""

    def __init__(self, url: str, client: Any, concurrency: int) -> None:
        self.url, self.client = url, client
        self._most = concurrency
        self.limit = float(concurrency)
        self.active = 0
        self.resting_until = 0.0
        self.failing_since: float | None = None
        self.failure = ""
        self.known = True
        """Whether it was asked what it is; false for one that was away."""
        self.draws: bool | None = None
        """Whether it draws where a temperature asks for it; false as long as that is yet to be seen."""
        self.seeds = True
        """Whether it takes the key ``seed``; false once it has refused it."""
        self.model = ""
        """The model that its answers name."""
        self.told: Mapping[str, str] = {}
        """What it said of itself when it was last asked."""
        self.counted: tuple[int, tuple[int, ...]] = (0, ())
        """Drafts that it had counted before it was asked for anything."""
        self.bad = 0
        """Bad answers since the last good one."""
        self._failures = 0

    @property
    def room(self) -> int:
        """How many more requests it may get now, were it not resting."""
        if self.failing_since is not None or self.draws is False:
            return 1 - self.active  # one at a time asks whether it is back, and whether it draws
        return int(self.limit) - self.active

    def rebase(self, counted: tuple[int, tuple[int, ...]]) -> None:
        """These are its counters now: lower ones are those of a new process, which began at nothing. Without any, nothing is
        known."""
        if not counted[1]:
            return
        if not self.counted[1]:
            self.counted = counted
        elif counted[0] < self.counted[0]:
            self.counted = (0, (0,) * len(counted[1]))

    def answered(self) -> None:
        """It served a request: it may get a little more at once."""
        self.failing_since, self._failures, self.bad = None, 0, 0
        self.limit = min(self._most, self.limit + 1 / self.limit)

    def failed(self, why: str, wait_s: float | None, now: float) -> None:
        """It refused work, or did not answer. wait_s: how long it asked to be left alone."""
        first = self.failing_since is None
        self.failing_since, self.failure = (now if first else self.failing_since), why
        if first:  # those that were sent with this one fail for the same reason
            self.limit = max(1.0, self.limit / 2)
            self._failures += 1
        elif now >= self.resting_until:
            self._failures += 1
        pause = min(LONGEST_PAUSE_S, 0.25 * 2**self._failures)
        if wait_s is not None:  # no time, or a date that has passed, is no wish to be asked without end
            pause = max(wait_s, pause / 4)
        self.resting_until = max(self.resting_until, now + pause)


class Pool:
    """The servers of one engine. Raises GenerationError once none of them has served anything for `patience_s` seconds."""

    def __init__(self, servers: Sequence[Server], patience_s: float) -> None:
        self.servers = tuple(servers)
        self._patience_s = patience_s
        self._waiting: deque[asyncio.Future[None]] = deque()

    def prove_draws(self) -> None:
        """From now on samples are drawn: whether a server does so is seen before it gets its first."""
        for server in self.servers:
            server.draws = bool(server.draws)

    def answered_badly(self, server: Server, why: str) -> None:
        """What it sent was no answer. One of several that sends nothing else is left to the others: it would get most of the
        work, being free at once."""
        server.bad += 1
        if len(self.servers) > 1 and server.bad >= MOST_BAD:
            server.failed(why, None, time.monotonic())

    @asynccontextmanager
    async def server(self) -> AsyncIterator[Server]:
        """The freest server, as soon as one has room."""
        chosen = await self._next()
        chosen.active += 1
        try:
            yield chosen
        finally:
            chosen.active -= 1
            self._wake()

    def _wake(self) -> None:
        """Wakes as many of those that wait as there is room for; all of them where they must look at the clock anew."""
        healthy = all(s.failing_since is None and s.draws is not False for s in self.servers)
        room = sum(max(0, s.room) for s in self.servers) if healthy else len(self._waiting)
        while room > 0 and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                room -= 1

    async def _next(self) -> Server:
        while True:
            now = time.monotonic()
            ready = [s for s in self.servers if s.room > 0 and s.resting_until <= now]
            if ready:
                return max(ready, key=lambda s: s.room)
            self._give_up(now)
            resting = [s.resting_until - now for s in self.servers if s.room > 0]
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            if not resting:
                await turn
                continue
            try:
                await asyncio.wait_for(turn, min(*resting, LONGEST_PAUSE_S))
            except TimeoutError:
                continue

    def _give_up(self, now: float) -> None:
        since = [s.failing_since for s in self.servers]
        if all(s is not None and now - s > self._patience_s for s in since):
            reasons = "\n".join(f"  {s.url}: {s.failure}" for s in self.servers)
            raise wmtp.GenerationError(
                f"no server has answered for {self._patience_s:g} s:\n{reasons}\nWhat was answered is kept; once a server is "
                "back, the same command asks for the rest (model.loaders.openai.patience_s says how long to wait)."
            )
