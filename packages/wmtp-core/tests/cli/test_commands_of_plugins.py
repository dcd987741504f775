"""Commands that plugins bring: listed without loading them, imported when they run, told apart, and never ahead of core's."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from wmtp.cli import _resumable
from wmtp.cli.commands import CORE, named_in
from wmtp.plugins import create_plugin_manager

PLUGIN = """
    import sys, wmtp
    print("loaded", file=sys.stderr)

    @wmtp.hookimpl
    def wmtp_commands():
        return [wmtp.CommandSpec(name="{name}", summary="{summary}", target="{target}", resumable=True)]
"""
COMMAND = """
import time, click

@click.command()
def run():
    print("run", flush=True)
    time.sleep(30)

@click.command()
def short():
    print("short")
"""


@pytest.fixture
def site(distributions, monkeypatch, tmp_path):
    for name in ("WMTP_STRICT_PLUGINS",):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("WMTP_PLUGINS", "wmtp-speaker")

    def install(name="speak", summary="Say something.", target="speaker_commands:short"):
        folder = distributions("wmtp-speaker", PLUGIN.format(name=name, summary=summary, target=target))
        (folder / "speaker_commands.py").write_text(COMMAND, encoding="utf-8")
        return folder

    return install


def wmtp(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "wmtp", *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_help_asks_plugins_once_and_again_when_they_change(site):
    folder = site()
    first, second = wmtp("--help"), wmtp("--help")
    assert first.stdout == second.stdout
    assert "  speak    Say something.\n" in first.stdout
    assert (first.stderr, second.stderr) == ("loaded\n", "")
    (module,) = folder.glob("wmtp_speaker_*.py")
    module.write_text(module.read_text(encoding="utf-8").replace("Say something.", "Be heard."), encoding="utf-8")
    assert "  speak    Be heard.\n" in wmtp("--help").stdout


def test_a_command_runs_and_is_left_out_with_its_plugin(site):
    site()
    assert wmtp("speak").stdout == "short\n"
    for arguments in (("--no-plugin", "wmtp-speaker", "speak"), ("speak", "--no-plugin=wmtp-speaker")):
        done = wmtp(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "No such command 'speak'" in done.stderr
        assert "loaded" not in done.stderr


def test_a_damaged_list_is_made_again(site, tmp_path):
    site()
    wmtp("--help")
    (kept,) = (tmp_path / "xdg/wmtp").glob("commands-*.txt")
    for text in ("", "nonsense", kept.read_text(encoding="utf-8") + "command\tx\n"):
        kept.write_text(text, encoding="utf-8")
        assert "speak" in wmtp("--help").stdout


def test_help_works_where_nothing_can_be_kept(site, monkeypatch, tmp_path):
    site()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "speak" in wmtp("--help").stdout


def test_core_s_commands_stay_core_s(site):
    site(name="metrics")
    done = wmtp("plugins", "list")
    assert done.returncode == 0
    assert "command 'metrics' is claimed by wmtp-core" in done.stderr
    assert "short" not in wmtp("metrics").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_with_a_word(site, number):
    site(target="speaker_commands:run")
    process = subprocess.Popen(
        [sys.executable, "-m", "wmtp", "speak"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in test_command_line
    )
    assert process.stdout.readline() == "run\n"
    time.sleep(0.1)
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert f"wmtp: stopped by {'SIGTERM' if number == signal.SIGTERM else 'ctrl-C'}; the same command goes on" in told
    assert told.endswith("  wmtp speak\n")


@pytest.mark.parametrize(
    ("arguments", "resumable"),
    [
        (["eval", "c.yaml"], True),
        (["--debug", "eval", "c.yaml"], True),
        (["--no-plugin", "x", "score"], True),
        (["--no-plugin=x", "--debug", "fetch"], True),
        (["plugins", "list", "eval"], False),
        (["--help"], False),
    ],
)
def test_what_is_resumable_is_seen_behind_options(arguments, resumable, monkeypatch):
    monkeypatch.setenv("WMTP_PLUGINS", "")
    assert _resumable(arguments) is resumable


def test_blocked_distributions_are_found_wherever_they_stand():
    assert named_in(["--no-plugin", "a", "eval", "--no-plugin=b", "--", "--no-plugin", "c"]) == ("eval", ["a", "b"])
    assert named_in(["eval", "--no-plugin"]) == ("eval", [])


def test_core_registers_the_commands_that_the_command_line_knows():
    plugins = create_plugin_manager(entry_points=False)
    registered = {n: (r.spec.target, r.spec.summary, r.spec.resumable) for n, r in plugins.commands.items()}
    assert registered == {n: (c.target, c.summary, c.resumable) for n, c in CORE.items()}
