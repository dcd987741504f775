"""The command as a user meets it: help, errors, exit statuses, what goes to stdout, and what is not imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec

import click
import pytest
from click.testing import CliRunner

import wmtp
from wmtp.cli import command, main
from wmtp.cli.commands import CORE, Command
from wmtp.cli.doctor import _cache
from wmtp.cli.session import Session

HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "boto3",
    "botocore",
    "pyarrow",
    "numpy",
    "huggingface_hub",
    "safetensors",
    "mlflow",
)


@pytest.fixture
def environment(monkeypatch, tmp_path):
    for name in ("WMTP_PLUGINS", "WMTP_STRICT_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return os.environ


def run(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "wmtp", *arguments], capture_output=True, text=True, timeout=60, check=False, **kwargs
    )


def imported(*arguments):
    """The modules that a command leaves in memory."""
    code = (
        "import sys, io, contextlib\n"
        "from wmtp.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    status = main({list(arguments)!r})\n"
        "print(status, *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    status, *modules = done.stdout.split()
    assert status == "0", done.stderr
    return set(modules)


def test_help_names_every_command_and_imports_none(environment):
    assert imported("--help").isdisjoint(HEAVY)  # this one may load plugins' hooks, to hear of their commands
    modules = imported("--help")
    assert {m for m in modules if m.startswith("wmtp")} == {"wmtp", "wmtp._commands", "wmtp.cli", "wmtp.cli.commands"}
    assert "shutil" not in modules or version("click") < "8.2", "older ones ask it for the width"
    text = run("--help").stdout
    for name, entry in CORE.items():
        assert name in text
        assert " ".join(entry.summary.split()) in " ".join(text.split())


@pytest.mark.parametrize("columns", ["", "0", "x", "20", "70", "200"])
def test_help_is_as_wide_as_click_would_have_it(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    context = command.make_context("wmtp", [], resilient_parsing=True)
    assert context.make_formatter().width == click.HelpFormatter().width


@pytest.mark.parametrize("arguments", [("plugins", "list"), ("metrics",)])
def test_listing_imports_nothing_heavy(arguments, environment):
    """With every plugin of the repository installed: their entry modules must be cheap, too."""
    assert imported(*arguments).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", CORE)
def test_each_command_has_help_and_the_common_options(name, environment):
    group = command.get_command(click.Context(command), name)
    commands = group.commands.values() if isinstance(group, click.Group) else [group]
    for one in commands:
        assert one.help, one.name
        assert {"no_plugin", "debug"} <= {p.name for p in one.params}
    assert main([name, "--help"]) == 0


def test_unknown_command():
    done = run("plugin")
    assert done.returncode == 2
    assert "No such command 'plugin'. Did you mean 'plugins'?" in done.stderr


def test_version():
    assert run("--version").stdout == f"wmtp {wmtp.__version__}\n"


def test_plugins_list_json(distributions, environment, monkeypatch):
    distributions("wmtp-noisy", "print('I was imported'); import not_there")
    distributions("wmtp-quiet", "")
    monkeypatch.setenv("WMTP_PLUGINS", "wmtp-noisy,wmtp-quiet")
    done = run("plugins", "list", "--json", "--no-plugin", "wmtp-quiet")
    assert done.returncode == 0
    listed = {p["distribution"]: p for p in json.loads(done.stdout)["plugins"]}
    assert listed["wmtp-core"]["state"] == "loaded"
    assert "meta-mtp-evaluator" in listed["wmtp-core"]["provides"]["evaluator"]
    assert listed["wmtp-quiet"] == {
        "distribution": "wmtp-quiet", "version": "1.0", "state": "blocked", "error": "--no-plugin", "provides": {},
    }  # fmt: skip
    assert listed["wmtp-noisy"]["state"] == "broken"
    assert "No module named 'not_there'" in listed["wmtp-noisy"]["error"]
    warnings = [line for line in done.stderr.splitlines() if "wmtp-noisy" in line]
    assert len(warnings) == 1
    assert "I was imported" in done.stderr
    strict = run("plugins", "list", env={**os.environ, "WMTP_STRICT_PLUGINS": "1"})
    assert strict.returncode == 2
    assert "plugin wmtp-noisy 1.0 is broken" in strict.stderr
    assert "Traceback" not in strict.stderr
    assert "Traceback" in run("plugins", "list", "--debug", env={**os.environ, "WMTP_STRICT_PLUGINS": "1"}).stderr


def test_common_options_stand_before_the_command_too(distributions, environment, monkeypatch):
    distributions("wmtp-quiet", "")
    monkeypatch.setenv("WMTP_PLUGINS", "wmtp-quiet")
    before, after = (
        run("--no-plugin", "wmtp-quiet", "plugins", "list"),
        run("plugins", "list", "--no-plugin", "wmtp-quiet"),
    )
    assert before.stdout == after.stdout
    assert "wmtp-quiet 1.0  blocked: --no-plugin" in before.stdout


def test_plugins_list_for_people(environment, monkeypatch):
    monkeypatch.setenv("WMTP_PLUGINS", "")
    text = run("plugins", "list").stdout
    assert f"wmtp-core {wmtp.__version__}  loaded" in text
    assert "    loader: transformers, meta-mtp, reference, samples" in text


def test_metrics(distributions, environment, monkeypatch):
    source = """
        import wmtp

        @wmtp.hookimpl
        def wmtp_evaluators():
            heads = {f"toy_head{i}_loss": "loss of a head" for i in range(1, 13)}
            return [
                wmtp.EvaluatorSpec(id="toy-v1", summary="a toy", metrics=("toy_exact", "toy_pass@{k}"), dataset="toy",
                                   descriptions={"toy_pass@{k}": "how many pass"}),
                wmtp.EvaluatorSpec(id="toy-heads-v1", summary="heads", metrics=tuple(heads), descriptions=heads),
            ]

        @wmtp.hookimpl
        def wmtp_evaluate(task):
            return None
    """
    distributions("wmtp-toy", source)
    monkeypatch.setenv("WMTP_PLUGINS", "wmtp-toy")
    assert run("metrics").stdout.splitlines() == [
        "toy_exact             toy-v1 (wmtp-toy): a toy",
        "toy_head{1..12}_loss  toy-heads-v1 (wmtp-toy): loss of a head",
        "toy_pass@{k}          toy-v1 (wmtp-toy): how many pass",
    ]
    rows = json.loads(run("metrics", "--json").stdout)["metrics"]
    assert len(rows) == 14
    assert rows[0] == {
        "metric": "toy_exact", "evaluator": "toy-v1", "dataset": "toy", "distribution": "wmtp-toy", "summary": "a toy",
    }  # fmt: skip
    monkeypatch.setenv("WMTP_PLUGINS", "")
    empty = run("metrics")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "pip install wmtp-eval-mbpp" in empty.stderr


def test_config_check(tmp_path, environment, monkeypatch):
    monkeypatch.setenv("WMTP_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("seed: 3\n")
    (tmp_path / "r.yaml").write_text("eval: {limit: few}\n")
    good = run("config", "check", "c.yaml", "--set", "judging.level=auto")
    assert (good.returncode, good.stdout) == (0, "c.yaml: ok; storage local, judging auto\n")
    bad = run("config", "check", "c.yaml", "r.yaml", "--set", "sed=3")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.splitlines()[1:] == [
        "recipe.eval.limit (r.yaml, line 1): must be a whole number or null, not 'few'"
    ]
    assert bad.stderr.startswith("wmtp: --set sed=3: unknown key; did you mean 'seed'?")
    both = run("config", "check", "c.yaml", "r.yaml", "--set", "eval.limit=2", "--json")
    assert json.loads(both.stdout)["recipe"]["eval"]["limit"] == 2
    assert json.loads(both.stdout)["config"]["paths"]["cache"] == str(tmp_path / ".cache")


@pytest.mark.parametrize("arguments", [(), ("c.yaml",)])
def test_eval_without_a_recipe_says_how_it_is_called(arguments, tmp_path, environment):
    (tmp_path / "c.yaml").write_text("seed: 3\n")
    done = run("eval", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wmtp: no recipe was given")
    assert f"  wmtp eval {arguments[0] if arguments else 'config.yaml'} recipe.yaml\n" in done.stderr


def test_config_check_notes_local_copies_that_are_not_there(tmp_path, environment, monkeypatch):
    monkeypatch.setenv("WMTP_PLUGINS", "wmtp-eval-mbpp")
    (tmp_path / "there").mkdir()
    (tmp_path / "c.yaml").write_text(
        "paths:\n  models: {base_local: there, rm_local: {id: a/b, path: gone}}\n  datasets: {mbpp_local: gone.jsonl}\n"
    )
    done = run("config", "check", "c.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "c.yaml: ok; storage local, judging strict\n")
    assert done.stderr.splitlines() == [
        f"wmtp: config.paths.models.rm_local: {tmp_path / 'gone'} does not exist; cache, storage and hub are asked instead",
        f"wmtp: config.paths.datasets.mbpp_local: {tmp_path / 'gone.jsonl'} does not exist; cache, storage and hub are asked "
        "instead",
    ]


def test_config_schema(environment):
    for which in ("config", "recipe"):
        assert json.loads(run("config", "schema", which).stdout)["type"] == ["object", "null"]


def test_config_migrate(tmp_path):
    old = "# mine\nstorage_mode: s3  # there\ns3_config: {bucket: b}\n"
    new = "# mine\nstorage:\n  mode: s3  # there\n  s3: {bucket: b}\n"
    file = tmp_path / "old.yaml"
    file.write_text(old)
    shown = run("config", "migrate", str(file))
    assert (shown.returncode, shown.stdout) == (0, new)
    assert file.read_text() == old
    assert run("config", "migrate", str(file), "--write").returncode == 0
    assert (file.read_text(), (tmp_path / "old.yaml.bak").read_text()) == (new, old)
    again = run("config", "migrate", str(file), "--write")
    assert (again.returncode, file.read_text()) == (0, new)
    assert "nothing to do" in again.stderr
    file.write_text(old)
    refused = run("config", "migrate", str(file), "--write")
    assert refused.returncode == 2
    assert "old.yaml.bak exists and is not overwritten" in refused.stderr
    assert file.read_text() == old


def test_config_migrate_says_what_is_missing_and_what_was_dropped(tmp_path):
    file = tmp_path / "old.yaml"
    file.write_text("storage_mode: s3\n")
    done = run("config", "migrate", str(file))
    assert (done.returncode, done.stdout) == (0, "storage:\n  mode: s3\n")
    assert "storage.s3.bucket is missing" in done.stderr
    file.write_text("s3_config: {bucket: b, use_ssl: false}\n")
    done = run("config", "migrate", str(file))
    assert "use_ssl" not in done.stdout
    assert "s3_config.use_ssl left out: the scheme of endpoint_url decides" in done.stderr


def test_doctor_reports_each_group_whatever_breaks(tmp_path, distributions, environment, monkeypatch):
    source = """
        import wmtp
        from wmtp.contracts.specs import Check

        def check(settings):
            yield Check("attic", True, "dry")
            raise OSError("the attic is on fire")

        @wmtp.hookimpl
        def wmtp_storages():
            return [wmtp.StorageSpec(mode="attic", summary="an attic", open=print, check=check)]
    """
    distributions("wmtp-attic", source)
    monkeypatch.setenv("WMTP_PLUGINS", "wmtp-attic")
    # Online, at the discard port, where nobody answers. The client may have read its environment long ago.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    session = Session()
    session.plugins = wmtp.create_plugin_manager()
    doctor = command.get_command(click.Context(command), "doctor")
    config = tmp_path / "c.yaml"
    config.write_text("storage: {mode: attic}")
    result = CliRunner().invoke(doctor, [str(config), "--json"], obj=session)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report) == ["plugins", "judging", "models", "storage", "hub"]
    storage = {c["name"]: c for c in report["storage"]}
    assert storage["attic"] == {"name": "attic", "ok": True, "detail": "dry"}
    assert storage["storage"] == {"name": "storage", "ok": False, "detail": "OSError: the attic is on fire"}
    assert storage["cache"]["ok"] is True
    assert all(checks for checks in report.values())
    assert {"judge: strict", "judge: process"} <= {c["name"] for c in report["judging"]}
    assert {c["name"]: c["ok"] for c in report["hub"]} == {"hub token": None, "hub": False}


@pytest.mark.parametrize(
    ("place", "reason"),
    [("/proc/x", "No such file"), ("/dev/null/x", "Not a directory"), ("file", "File exists"), ("file/x", "Not a dir")],
)
def test_doctor_writes_into_the_cache_to_see_whether_it_can(tmp_path, place, reason):
    (tmp_path / "file").write_text("")
    (check,) = _cache(tmp_path / place)
    assert check.ok is False
    assert reason in check.detail
    (check,) = _cache(tmp_path / "new/cache")
    assert check.ok is True
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "and leaves nothing"


def test_cache_and_doctor_take_the_config_as_fetch_does(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("paths: {cache: mine}")
    for arguments in ((str(config),), ("--config", str(config))):
        done = run("cache", "list", *arguments)
        assert done.stdout.startswith(str(tmp_path / "mine")), done.stderr
    both = run("cache", "prune", str(config), "--config", str(config))
    assert both.returncode == 2
    assert "give one" in both.stderr
    assert "--config" in run("doctor", "--help").stdout
    assert "used just now go as well" in " ".join(run("cache", "prune", "--help").stdout.split())


# how errors end


@pytest.fixture
def failing(monkeypatch):
    """Puts a command `fail` into the table that raises what the test says."""
    import types

    def put(exception, name="fail"):
        @click.command(name=name)
        @click.pass_obj
        def fail(session):
            if isinstance(exception, int):
                return exception
            raise exception

        module = types.ModuleType("wmtp_failing_command")
        module.command = fail
        monkeypatch.setitem(sys.modules, module.__name__, module)
        resumable = name in CORE and CORE[name].resumable
        monkeypatch.setitem(CORE, name, Command(name, f"{module.__name__}:command", "Fails.", resumable))

    return put


@pytest.mark.parametrize(
    ("exception", "status", "says"),
    [
        (wmtp.ConfigError("seed is odd"), 2, "wmtp: seed is odd\n"),
        (wmtp.ConfigError("problem \x1b[2J of a file"), 2, "wmtp: problem \\x1b[2J of a file\n"),
        (ZeroDivisionError("x"), 1, "wmtp: ZeroDivisionError: x\nThis is a fault of ours (wmtp-core "),
        (click.UsageError("no"), 2, "Error: no"),
    ],
)
def test_errors(exception, status, says, failing, capsys):
    failing(exception)
    assert main(["fail"]) == status
    out = capsys.readouterr()
    assert out.out == ""
    assert says in out.err
    assert "Traceback" not in out.err
    if not isinstance(exception, click.ClickException):
        assert main(["fail", "--debug"]) == status
        assert "Traceback" in capsys.readouterr().err


def test_a_command_returns_its_status(failing):
    failing(1)
    assert main(["fail"]) == 1


def test_only_what_resumes_is_told_to_be_run_again(failing, capsys):
    for name, kept in (("eval", True), ("plugins", False)):
        failing(OSError(28, "No space left on device", "x"), name=name)
        assert main([name]) == 1
        told = capsys.readouterr().err
        assert told.startswith("wmtp: No space left on device: x\n")
        assert ("What was done is kept" in told) is kept


def test_ctrl_c_says_how_to_go_on(failing, capsys):
    failing(KeyboardInterrupt(), name="eval")
    assert main(["eval"]) == 130
    assert "the same command goes on from here:\n  wmtp eval" in capsys.readouterr().err
    failing(KeyboardInterrupt(), name="metrics")
    assert main(["metrics"]) == 130
    assert "goes on" not in capsys.readouterr().err


def test_a_real_ctrl_c():
    """The signal itself, in another process: no traceback, status 130, and how to go on."""
    code = (
        "import sys, time, types, click\n"
        "from wmtp.cli import main\n"
        "from wmtp.cli.commands import CORE, Command\n"
        "module = types.ModuleType('slow')\n"
        "def wait():\n    print('running', flush=True)\n    time.sleep(60)\n"
        "module.command = click.Command('eval', callback=wait)\n"
        "sys.modules['slow'] = module\n"
        "CORE['eval'] = Command('eval', 'slow:command', 'Waits.', True)\n"
        "sys.exit(main(['eval', '--debug']))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs the tests in the background has them ignore ctrl-C, and all their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stdout.readline() == "running\n"
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "the same command goes on from here:\n  wmtp eval --debug" in stderr
    assert "Traceback" not in stderr


def test_a_reader_that_leaves_is_no_error():
    """`wmtp config schema | true`: no traceback, whichever write meets the closed pipe."""
    done = subprocess.run(
        f"{sys.executable} -m wmtp config schema | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == "" or "Traceback" not in done.stderr
    assert "fault of ours" not in done.stderr


def test_the_heavy_modules_are_installed_here():
    """Else the tests above would prove nothing."""
    assert all(find_spec(name) for name in ("torch", "transformers", "boto3", "pyarrow"))
