"""Where there is no terminal, a line a minute and no more."""

from __future__ import annotations

import logging

from wmtp.cli.progress_lines import ProgressLines


def test_a_line_a_minute_says_how_far_it_is(caplog):
    now = [0.0]
    lines = ProgressLines(lambda: now[0])
    with caplog.at_level(logging.INFO, "wmtp"):
        lines.report("mbpp-v1", "total", 500)
        for second in range(150):
            now[0] = float(second)
            lines.report("mbpp-v1", "sample", 1)
            lines.report("mbpp-v1", "verdict", 1)
        now[0] = 500.0
        lines.report("download", "total", 10 * 2**20)
        lines.report("download", "kept", 2 * 2**20)
        lines.report("download", "bytes", 3 * 2**20)
    assert [r.getMessage() for r in caplog.records] == [
        "mbpp-v1: 61 samples and 60 verdicts of 500",
        "mbpp-v1: 121 samples and 120 verdicts of 500",
        "download: 2 of 10 MiB",
    ]


def test_a_short_run_says_nothing(caplog):
    lines = ProgressLines(lambda: 0.0)
    with caplog.at_level(logging.INFO, "wmtp"):
        lines.report("mbpp-v1", "sample", 1)
    assert caplog.records == []
