"""Runs in a real MLflow server: what arrives, once each, whatever happens to the server and to the run."""

from __future__ import annotations

import http.client
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.tracking.follow import Order, follow, state_of
from wmtp.tracking.journal import Ended, Journal, Numbers
from wmtp.tracking.sync import sync_run

pytest.importorskip("mlflow", reason="needs wmtp-mlflow")
pytest.importorskip("wmtp_mlflow", reason="needs wmtp-mlflow")
from wmtp_mlflow import tracker as tracker_module
from wmtp_mlflow.settings import MlflowSettings
from wmtp_mlflow.tracker import MlflowTracker

TARGET = "wmtp_mlflow.tracker:MlflowTracker"


def run_folder(tmp_path: Path, name: str, *, points: int = 0, **params: str) -> Path:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    journal = Journal(folder)
    journal.add(wmtp.TrackedRun(name=name, kind="training", folder=str(folder), time=1e9, params=params, tags=("a@b",)))
    for step in range(points):
        journal.add(Numbers(values={"loss": 1 / (step + 1), "eval/x@1": 0.5}, step=step, time=1e9 + step))
    journal.close()
    return folder


def sync(folder: Path, url: str, **settings: Any) -> Any:
    return sync_run(folder, "mlflow", TARGET, MlflowSettings(tracking_uri=url, **settings))


def test_an_evaluation_is_one_run_with_its_intervals_and_a_second_session_goes_on_in_it(
    mlflow_server: Any, write_files: Callable[..., None], wmtp: Callable[..., Any], tmp_path: Path
) -> None:
    write_files(
        {"tracking": {"mlflow": {"tracking_uri": mlflow_server.url}}}, run={"name": "evaluated", "tags": ["first"]}
    )
    for _ in range(2):
        done = wmtp("eval", "config.yaml", "recipe.yaml")
        assert done.returncode == 0, done.stderr
    assert "tracker mlflow: " in done.stderr
    run = mlflow_server.run("evaluated")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["eval/mbpp_pass_at_1"] == 1.0
    assert 0 < run.data.metrics["eval/mbpp_pass_at_1_low"] < run.data.metrics["eval/mbpp_pass_at_1_high"] == 1.0
    assert len(mlflow_server.history("evaluated", "eval/mbpp_exact")) == 1
    assert run.data.params["model.base_id"] == "reference:"
    assert not [key for key in run.data.params if "tracking" in key or "storage" in key]
    assert (run.data.tags["first"], run.data.tags["wmtp.kind"]) == ("true", "evaluation")
    assert '"eval/mbpp_pass_at_1": "eval/mbpp_pass@1"' in run.data.tags["wmtp.names"]
    files = {file.path for file in mlflow_server.client.list_artifacts(run.info.run_id)}
    assert files == {"results.json", "report.md", "recipe.yaml"}
    synced = wmtp("track", "sync", "runs/evaluated")
    assert "mlflow: 0 numbers sent now" in synced.stdout, synced.stderr


def test_a_run_without_trackers_is_sent_from_its_results(
    mlflow_server: Any, write_files: Callable[..., None], wmtp: Callable[..., Any], tmp_path: Path
) -> None:
    write_files(run={"name": "untracked"})
    assert wmtp("eval", "config.yaml", "recipe.yaml").returncode == 0
    refused = wmtp("track", "sync", "runs/untracked")
    assert refused.returncode == 2
    assert "no tracker that follows a journal" in refused.stderr
    (tmp_path / "t.yaml").write_text(f"tracking: {{mlflow: {{tracking_uri: '{mlflow_server.url}'}}}}\n")
    assert "mlflow: " in wmtp("track", "sync", "runs/untracked", "--config", "t.yaml").stdout
    assert mlflow_server.run("untracked").data.metrics["eval/mbpp_exact"] == 1.0


def test_a_server_that_is_killed_in_the_middle_and_started_again_has_every_point_once(
    mlflow_server: Any, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path, "killed-server")
    settings = MlflowSettings(tracking_uri=mlflow_server.url, timeout_s=5)
    over = threading.Event()
    order = Order(tracker="mlflow", target=TARGET, settings=settings, folder=folder)
    statuses: list[int] = []
    following = threading.Thread(target=lambda: statuses.append(follow(order, over.is_set)), daemon=True)
    following.start()
    journal = Journal(folder)
    slowest = 0.0
    for step in range(300):
        if step == 100:
            mlflow_server.kill()
        if step == 200:
            wait_for(lambda: state_of(folder, "mlflow").get("error"))
            mlflow_server.start()
        began = time.monotonic()
        journal.add(Numbers(values={"loss": 1 / (step + 1)}, step=step, time=1e9 + step))
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.01)
    journal.add(Ended(status="finished", time=2e9))
    journal.close()
    wait_for(lambda: state_of(folder, "mlflow").get("sent") == 300)
    over.set()
    following.join(60)
    assert statuses == [0]
    assert slowest < 2, "the run waited for the server"
    assert mlflow_server.history("killed-server", "loss") == [
        (step, 1 / (step + 1), (10**9 + step) * 1000) for step in range(300)
    ]
    assert mlflow_server.run("killed-server").info.status == "FINISHED"


def test_answers_that_are_lost_and_late_leave_one_run_and_every_point_once(mlflow_server: Any, tmp_path: Path) -> None:
    """Four of ten answers are dropped after the server has done what was asked: all is asked again."""
    folder = run_folder(tmp_path, "lost-answers", points=40)
    failures: list[str] = []
    with proxy(mlflow_server.port, dropped_share=0.4, delay_s=0.02) as (url, dropped):
        for _ in range(60):
            try:
                done = sync(folder, url, experiment="lossy")
                break
            except wmtp.ConfigError as error:
                failures.append(str(error))
    assert len(dropped) > 3, "the proxy harmed nothing"
    assert all("try again later" in failure for failure in failures)
    assert done.all == 80
    assert len(mlflow_server.history("lost-answers", "loss")) == 40
    assert len(mlflow_server.history("lost-answers", "eval/x_at_1")) == 40


def test_a_server_that_is_away_or_silent_is_given_up_in_seconds_and_nothing_is_lost(
    mlflow_server: Any, tmp_path: Path
) -> None:
    """With MLflow's own settings a refused port blocks for four minutes, a silent one for two at a time."""
    folder = run_folder(tmp_path, "away", points=3)
    began = time.monotonic()
    with pytest.raises(wmtp.ConfigError, match="What is left is kept"):
        sync(folder, "http://127.0.0.1:9")
    assert time.monotonic() - began < 20
    with silent() as url, pytest.raises(wmtp.ConfigError, match="What is left is kept"):
        sync(folder, url, timeout_s=1)
    assert time.monotonic() - began < 40
    assert sync(folder, mlflow_server.url).all == 6


def test_nan_is_kept_infinities_are_refused_by_name_and_the_rest_of_the_batch_arrives(
    mlflow_server: Any, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path, "not-finite")
    journal = Journal(folder)
    journal.add(
        Numbers(values={"a": math.nan, "b": math.inf, "c": 1.0, "d@1": -math.inf, "é//x": 2.0}, step=7, time=1e9)
    )
    journal.close()
    done = sync(folder, mlflow_server.url)
    assert [line.partition(",")[0] for line in done.refused] == ["b at step 7 is inf", "d@1 at step 7 is -inf"]
    found = mlflow_server.run("not-finite").data.metrics
    assert math.isnan(found.pop("a"))
    assert found.pop("c") == 1.0
    assert list(found.values()) == [2.0]


def test_one_point_that_the_server_refuses_keeps_no_other_out(
    mlflow_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "mapped", lambda name, known: name)  # as a server with other rules would see it
    folder = run_folder(tmp_path, "bad-name")
    journal = Journal(folder)
    journal.add(Numbers(values={**{f"m{i}": float(i) for i in range(20)}, "bad@1": 1.0}, step=0, time=1e9))
    journal.close()
    done = sync(folder, mlflow_server.url)
    assert [line for line in done.refused if line.startswith("bad@1 at step 0 was refused: ")]
    assert mlflow_server.run("bad-name").data.metrics == {f"m{i}": float(i) for i in range(20)}


def test_parameters_that_differ_behind_the_cut_stay_two_and_one_that_changed_is_a_tag(
    mlflow_server: Any, tmp_path: Path
) -> None:
    one, other = "x" * 7000 + "1", "x" * 7000 + "2"
    sync(run_folder(tmp_path, "params", one=one, other=other, lr="0.1"), mlflow_server.url)
    sync(run_folder(tmp_path, "params", one=other, other=other, lr="0.1", new="n"), mlflow_server.url)
    data = mlflow_server.run("params").data
    assert data.params["one"] != data.params["other"]
    assert "7001 characters" in data.params["one"]
    assert (data.params["lr"], data.params["new"]) == ("0.1", "n")
    assert [key for key in data.tags if key.startswith("changed.")] == ["changed.one"]
    assert data.tags["a_at_b"] == "true"


def test_a_run_that_was_deleted_is_said_and_not_tried_for_ever(mlflow_server: Any, tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "deleted", points=1)
    sync(folder, mlflow_server.url)
    run_id = mlflow_server.run("deleted").info.run_id
    mlflow_server.client.delete_run(run_id)
    run_folder(tmp_path, "deleted", points=2)
    with pytest.raises(wmtp.ConfigError, match="was deleted"):
        sync(folder, mlflow_server.url)
    mlflow_server.client.restore_run(run_id)
    assert sync(folder, mlflow_server.url).all == 4


def test_what_mlflow_does_and_we_build_on(mlflow_server: Any) -> None:
    """Each is a fact that the tracker or its documentation relies on; where one changes, something here can go."""
    from mlflow.entities import Metric
    from mlflow.exceptions import MlflowException

    client = mlflow_server.client
    run_id = client.create_run(client.create_experiment("facts")).info.run_id
    for _ in range(2):
        client.log_batch(
            run_id, metrics=[Metric("m", 1.0, 1000, 5), Metric("m", 2.0, 2000, 1), Metric("n", math.inf, 1, 1)]
        )
    points = sorted((m.step, m.value) for m in client.get_metric_history(run_id, "m"))
    assert points == [(1, 2.0), (5, 1.0)], "points equal in key, step, value and time are one"
    shown = client.get_run(run_id).data.metrics
    assert shown["m"] == 1.0, "what is shown is the value of the highest step, not the last"
    assert shown["n"] == pytest.approx(1.7976931348623157e308), "an infinity becomes the largest float"
    with pytest.raises(MlflowException):
        client.log_batch(run_id, metrics=[Metric("good", 1.0, 1, 1), Metric("bad@1", 1.0, 1, 1)])
    assert "good" not in client.get_run(run_id).data.metrics, "a bad name keeps the whole batch out"


def test_a_database_needs_no_server(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "local", points=2)
    (folder / "report.md").write_text("x")
    address = f"sqlite:///{tmp_path}/db/mlflow.db"
    (tmp_path / "db").mkdir()
    done = sync(folder, address)
    assert done.all == 4
    assert address in done.shown
    assert sync(folder, address).now == 0


def test_the_tracker_makes_one_run_however_often_it_is_made_anew(mlflow_server: Any, tmp_path: Path) -> None:
    memory: dict[str, Any] = {}
    settings = MlflowSettings(tracking_uri=mlflow_server.url, experiment="once")
    ids = set()
    for _ in range(3):
        tracker = MlflowTracker(settings, memory)
        memory.pop("run_id", None)  # the note of it was lost
        tracker.begin(wmtp.TrackedRun(name="once", kind="training", folder="f", time=1.0))
        ids.add(memory["run_id"])
    assert len(ids) == 1


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)


@contextmanager
def proxy(port: int, *, dropped_share: float, delay_s: float) -> Iterator[tuple[str, list[str]]]:
    """Passes requests on, answers late, and closes some connections instead of passing the answer back."""
    chance, dropped = random.Random(7), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            data = answer.read()
            time.sleep(delay_s)
            self.close_connection = True
            if chance.random() < dropped_share:
                dropped.append(self.path)
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_PATCH = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", dropped
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
