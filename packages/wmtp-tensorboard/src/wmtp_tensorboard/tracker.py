"""The tracker: one event file for a run folder, over all its sessions. It is imported in the process beside a run only."""

from __future__ import annotations

import io
import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import wmtp
from wmtp_tensorboard.plugin import TensorBoardSettings

LARGEST = 3.4028234663852886e38
"""TensorBoard keeps numbers in 32 bits."""


class TensorBoardTracker:
    """See `wmtp.Tracker`.

    In the memory are ``file`` and ``length``: what has been noted as sent. What a killed process wrote behind that is cut off
    and written again, so that every number is there once.
    """

    def __init__(self, settings: TensorBoardSettings, memory: MutableMapping[str, Any]) -> None:
        self._folder, self._memory = Path(settings.folder), memory

    @property
    def place(self) -> str:
        return str(self._folder)

    @property
    def shown(self) -> str:
        return f"tensorboard --logdir {self._folder}" if "file" in self._memory else ""

    def begin(self, run: wmtp.TrackedRun) -> Sequence[str]:
        """Makes the file, and writes the settings into it as a table."""
        if "file" not in self._memory:
            name = f"{run.name}/events.out.tfevents.{int(run.time)}.{run.name}.{os.getpid()}"
            self._memory.update(file=name, length=0)
        rows = [f"| {key} | {value} |" for key, value in {"folder": run.folder, **run.params}.items()]
        self._write([_text("params", "\n".join(["| key | value |", "|---|---|", *rows]), run.time)])
        return []

    def points(self, points: Sequence[wmtp.Point]) -> Sequence[str]:
        """Numbers, NaN and infinities as they are. A finite number that 32 bits cannot hold would become infinite: refused."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        kept = [p for p in points if not LARGEST < abs(p.value) < float("inf")]
        self._write(
            [
                Event(
                    wall_time=p.time,
                    step=p.step,
                    summary=Summary(value=[Summary.Value(tag=p.key, simple_value=p.value)]),
                )
                for p in kept
            ]
        )
        return [
            f"{p.key} at step {p.step} is {p.value}, which TensorBoard cannot keep" for p in points if p not in kept
        ]

    def artifact(self, path: Path) -> Sequence[str]:
        """TensorBoard has no files; where it is."""
        self._write([_text(f"file/{path.name}", str(path), path.stat().st_mtime)])
        return []

    def link(self, name: str, target: str) -> Sequence[str]:
        self._write([_text(name, target, 0.0)])
        return []

    def end(self, status: str, time: float) -> Sequence[str]:
        self._write([_text("status", status, time)])
        return []

    def _write(self, events: Sequence[Any]) -> None:
        """Append to what is noted."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        path, length = self._folder / self._memory["file"], int(self._memory["length"])
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.stat().st_size if path.exists() else 0
        if there < length:
            raise wmtp.ConfigError(
                f"{path} has lost what was written to it. Remove tracking/tensorboard.json in the run folder: "
                "all is then written again"
            )
        data = io.BytesIO()
        records = RecordWriter(data)
        for event in ([] if length else [Event(wall_time=events[0].wall_time, file_version="brain.Event:2")]) + list(
            events
        ):
            records.write(event.SerializeToString())
        with path.open("r+b" if there else "wb") as file:
            file.truncate(length)
            file.seek(length)
            file.write(data.getbuffer())
        self._memory["length"] = length + data.tell()


def _text(tag: str, text: str, time: float) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    value = Summary.Value(
        tag=tag,
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
        tensor=TensorProto(
            dtype=DT_STRING,
            string_val=[text.encode()],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        ),
    )
    return Event(wall_time=time, step=0, summary=Summary(value=[value]))
