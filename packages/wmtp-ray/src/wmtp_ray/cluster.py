"""The connection to the cluster, and what is said of a node."""

from __future__ import annotations

import logging
import os
import platform
import re
import socket
from importlib import metadata
from typing import Any

import ray
from ray.exceptions import RayError

import wmtp

VERSIONED = ("wmtp-core", "torch", "transformers", "numpy")
"""Distributions that a sample may depend on."""
CONNECT_S = 10.0
STILL_S = 10.0
"""After so long without an answer, an actor is asked whether it is alive: an answer may take hours, a sign of life may not."""
SILENT_S = 60.0
"""After so long without a sign of life it counts as lost. Ray itself waits for ever for a process that is stopped (SIGSTOP, a
debugger, a machine that swaps) while its node lives."""
WAITS = 6
"""In so many parts that time is waited out: a job that was suspended whole, us included, has missed one of them."""
HTTP2_OPENS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""The preface of a client, and empty settings."""
HTTP2_SETTINGS = 4
OBJECT_STORE_BYTES = 80 * 2**20
"""Of a cluster of our own: requests and completions are small, and nothing else goes through it."""


def connect(address: str, key: str = "model.loaders.ray.address") -> None:
    """Joins the cluster, once a process. key: of the configuration that says the address.

    Raises:
        ConfigError: There is none at this address.
    """
    if ray.is_initialized():
        return
    if address == "auto" and (named := os.environ.get("RAY_ADDRESS")):
        address, key = named, "the environment variable RAY_ADDRESS"
    try:
        _join(address)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        why = " ".join(str(error).split())[:160]
        raise wmtp.ConfigError(
            f"{key}: no Ray cluster at {address!r} ({why}). Start one with 'ray start --head', or set address: local"
        ) from None


def _join(address: str) -> None:
    """Raises what Ray raises, and OSError or ValueError where no Ray listens."""
    _check_listening(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address == "local":
        ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **options)
    else:
        ray.init(address=address, **options)


def _check_listening(address: str) -> None:
    """Raises OSError or ValueError where host:port is no Ray: Ray itself goes on trying for many minutes, deaf to ctrl-C.

    Ray listens with gRPC, which is HTTP/2: whoever opens such a connection hears a frame of settings.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return
        connection.sendall(HTTP2_OPENS)
        heard = connection.recv(4)
    if len(heard) < 4 or heard[3] != HTTP2_SETTINGS:
        raise ValueError("something else than Ray listens there")


class SilentError(Exception):
    """A process of the cluster is there and shows no sign of life."""


def silence() -> str:
    """Why a process is given up that shows no sign of life."""
    return f"its process has shown no sign of life for {SILENT_S:g} s: it is stopped, or its machine has no time for it"


def answer_of(actor: Any, reference: Any) -> Any:
    """What an actor answers, however long that takes, as long as its `alive` answers.

    Raises:
        SilentError: It does not.
        RayError: As `ray.get`.
    """
    while not ray.wait([reference], timeout=STILL_S)[0]:
        check_connected()
        alive = actor.alive.remote()
        if not any(ray.wait([alive, reference], timeout=SILENT_S / WAITS)[0] for _ in range(WAITS)):
            raise SilentError(silence())
    return ray.get(reference)


def check_connected() -> None:
    """Raises RayError where the run, or whoever holds the connection, has closed it: Ray would open another by itself."""
    if not ray.is_initialized():
        raise RayError("Ray's connection is closed")


def lacking(error: Exception) -> wmtp.ConfigError | None:
    """What to do where a node could not even import what it was to run; ``None`` for other errors."""
    found = re.search(r"No module named '([\w.]+)'|failed to import on the worker", str(error))
    if found is None:
        return None
    return wmtp.ConfigError(
        f"a node of the cluster lacks {found[1] or 'a package'}: install the same versions of wmtp-core, wmtp-ray and what the "
        "model needs on every node, in the environment in which 'ray start' runs; nodes without are left out with a resource "
        "of the others (model.loaders.ray.resources)"
    )


def versions() -> dict[str, str]:
    """What is installed here of all that a sample may depend on."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def node() -> str:
    """The name of this machine, and Ray's of the node, as people find them in its dashboard."""
    return f"{platform.node()} (node {ray.get_runtime_context().get_node_id()[:8]}, process {os.getpid()})"
