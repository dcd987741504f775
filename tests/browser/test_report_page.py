"""report.html in a real browser: numbers, sorting, filters, keyboard, hostile text, the network, accessibility."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wmtp.contracts.evaluation import MetricValue
from wmtp.contracts.runs import GenerationRecord, Provenance, RunInfo, RunRecord
from wmtp.reports.html import write_report
from wmtp.runs.record import to_json

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / ".browser" / "axe.min.js"
HOSTILE = [
    "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">",
    "\x1b[2J\u202egnp.exe\u2066 \x00 \u200b{{ 7 * 7 }} ${1}",
    "<!--<script>",
    "def f():\n    return '<b>bold</b>'  # \ud800\n",
]
LONG = "x = '" + "a" * 1_000_000 + "'"
NAMES = ["<b>one</b>", "\u202egnp.exe\x00", "n" * 5000, " "]  # of problems, beside plain ones
DETAIL = "test 1: <i>AssertionError</i>"
DRAFTS = {"heads": "0123-1", "characters": [1, 2, 3, 1, 4, 2]}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing or not AXE.exists():
        message = "no browser to test the report in: run `make browser` (chromium, chromium-driver, axe-core)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1280,1000",
        "--lang=en-US",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})  # type: ignore[no-untyped-call]
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def make_run(folder: Path, outcomes: dict[str, list[bool]], codes: list[str], seed: int = 7) -> Path:
    """A finished run, as `wmtp eval` leaves one."""
    pairs = [(p, i, ok) for p, of in outcomes.items() for i, ok in enumerate(of)]
    for kind in ("samples", "verdicts"):
        (folder / kind).mkdir(parents=True)
    with (folder / "samples" / "toy-v1.jsonl").open("wb") as file:
        for number, (p, i, _) in enumerate(pairs):
            code = LONG if number == 2 and len(codes) < 9 else codes[number % len(codes)]
            row = {
                "problem": p,
                "index": i,
                "completion": code,
                "code": code,
                "tokens": number,
                "seconds": 0.1,
                "extra": {"drafts": DRAFTS},
            }
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))
    with (folder / "verdicts" / "toy-v1.jsonl").open("w") as lines:
        for p, i, ok in pairs:
            lines.write(json.dumps({"problem": p, "index": i, "status": "passed" if ok else "failed", "passed": ok,
                                    "judge_key": "k", "detail": "" if ok else DETAIL}) + "\n")  # fmt: skip
    means = [sum(of) / len(of) for of in outcomes.values()]
    value = sum(means) / len(means)
    metric: dict[str, Any] = {
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "problems": len(means),
        "samples": len(pairs),
    }
    (folder / "keys.json").write_text(json.dumps({"generation": {"toy-v1": {"seed": seed}}, "judge": {"toy-v1": {}}}))
    (folder / "recipe.yaml").write_text("eval:\n  metrics: [toy_pass@1]  # <script>\n")
    generation: dict[str, Any] = {
        "samples": len(pairs),
        "tokens": 99,
        "acceptance": [0.81, 0.62, 0.4],
        "tokens_per_forward": 2.4,
    }
    record = RunRecord(
        run=RunInfo(name=folder.name, finished="2026-11-28T03:00:00+0000"),
        metrics={"toy_pass@1": MetricValue(**metric)},
        provenance=Provenance(model={"id": "demo <model>"}),
        generation=GenerationRecord(**generation),
    )
    (folder / "results.json").write_text(json.dumps(to_json(record)))
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("report")
    a = {f"task/{i}": [(i + j) % 3 == 0 for j in range(2)] for i in range(40)}
    b = {f"task/{i}": [(i + j) % 3 != 0 for j in range(2)] for i in range(40)}
    first, second = make_run(folder / "a", a, HOSTILE), make_run(folder / "b", b, HOSTILE[1:])
    write_report([first])
    write_report([first, second], second / "report.html")
    return [first, second]


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two runs of a few problems, with everything that a page can have."""
    folder = tmp_path_factory.mktemp("few")
    codes = ["def f():\n    return 1\n", "def f():\n    return '한글'  # 주석\n"]
    made = []
    for name, shift in (("a", 0), ("b", 1)):
        run = make_run(folder / name, {p: [(i + shift) % 2 == 0] for i, p in enumerate([*NAMES, "t/4", "t/5"])}, codes)
        (run / "prompts").mkdir()
        (run / "prompts" / "toy-v1.jsonl").write_text(
            json.dumps({"problem": "t/4", "prompt": "</script><b>do</b>"}) + "\n"
        )
        (run / "tests").mkdir()
        (run / "tests" / "toy-v1.jsonl").write_text(
            json.dumps({"problem": "t/5", "tests": {"1": "assert f() == 2"}}) + "\n"
        )
        (run / "details").mkdir()
        months = "| month | problems | `toy` |\n|---|---|---|\n| 2025-01 | 9 | 10.0 % |\n| 2025-02 | 9 | 20.0 % |\n"
        (run / "details" / "toy-v1.md").write_text(f"# Said <b>\n\n{months}\n```python\n</pre>\n```\n- item\n")
        made.append(run)
    return write_report(made, folder / "few.html")


def open_page(browser: Any, path: Path) -> None:
    browser.get_log("performance")
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    browser.get(path.as_uri())
    for _ in range(100):
        if browser.execute_script("return document.readyState") == "complete":
            return
        time.sleep(0.05)


def rows(browser: Any) -> list[str]:
    shown = "[...document.querySelectorAll('#problems tbody tr')].filter(r => !r.hidden)"
    script = f"return {shown}.map(r => r.cells[0].textContent)"
    found: list[str] = browser.execute_script(script)
    return found


def opener(browser: Any, problem: str) -> Any:
    """The button that opens a problem."""
    script = "return [...document.querySelectorAll('#problems td button')].find(b => b.textContent === arguments[0])"
    return browser.execute_script(script, problem)


def test_the_numbers_are_those_of_results_json(browser: Any, runs: list[Path]) -> None:
    open_page(browser, runs[0] / "report.html")
    stated = json.loads((runs[0] / "results.json").read_text())["metrics"]["toy_pass@1"]
    cell = browser.find_element("css selector", "#metrics td[data-value]")
    assert float(cell.get_attribute("data-value")) == stated["value"]
    assert cell.text == f"{100 * stated['value']:.1f} %"
    assert len(rows(browser)) == stated["problems"]


def test_rows_are_sorted_filtered_and_searched(browser: Any, runs: list[Path]) -> None:
    open_page(browser, runs[0] / "report.html")
    head = browser.find_elements("css selector", "#problems th button")[1]
    head.click()
    shares = "return [...document.querySelectorAll('#problems tbody tr')].map(r => Number(r.cells[1].dataset.v))"
    found = browser.execute_script(shares)
    assert found == sorted(found)
    assert head.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    head.click()
    assert browser.execute_script(shares) == sorted(found, reverse=True)
    browser.find_element("id", "search").send_keys("task/1")
    assert sorted(rows(browser)) == sorted(["task/1", *(f"task/{i}" for i in range(10, 20))])
    assert browser.find_element("id", "count").text == "11 problems shown"
    browser.find_element("css selector", "#filter option[value=never]").click()
    assert all(int(name.split("/")[1]) % 3 == 1 for name in rows(browser))
    assert rows(browser)


def test_hostile_text_stays_text(browser: Any, runs: list[Path]) -> None:
    for path in (runs[0] / "report.html", runs[1] / "report.html"):
        open_page(browser, path)
        title = browser.title
        for problem in ("task/0", "task/1", "task/2", "task/3"):
            button = opener(browser, problem)
            browser.execute_script("arguments[0].click()", button)
            for _ in range(100):
                if browser.find_elements("css selector", "#body pre"):
                    break
                time.sleep(0.05)
            assert browser.find_elements("css selector", "#body pre")
            assert not browser.find_elements("css selector", "#body img, #body script, #body b, #body i")
            shown = browser.execute_script("return document.getElementById('body').textContent")
            assert "\u202e" not in shown
            assert "\x1b" not in shown
            browser.find_element("id", "close").click()
        assert browser.title == title
        assert "49" not in browser.execute_script("return document.getElementById('title').textContent")


def test_a_program_shows_what_would_be_unseen(browser: Any, runs: list[Path]) -> None:
    open_page(browser, runs[0] / "report.html")
    browser.execute_script("arguments[0].click()", opener(browser, "task/0"))
    time.sleep(1)
    shown = browser.execute_script("return document.getElementById('body').textContent")
    assert "\\u202egnp.exe" in shown
    assert "\\u001b[2J" in shown
    assert "<i>AssertionError</i>" in shown or "passed" in shown


def test_the_keyboard_is_enough(browser: Any, runs: list[Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, runs[1] / "report.html")
    button = opener(browser, "task/3")
    browser.execute_script("arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    time.sleep(1)
    assert browser.execute_script("return document.getElementById('dialog').open")
    assert browser.execute_script("return document.getElementById('dialog').contains(document.activeElement)")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not browser.execute_script("return document.getElementById('dialog').open")
    assert browser.switch_to.active_element.text == "task/3"


def test_two_runs_have_differences_and_a_diff(browser: Any, runs: list[Path]) -> None:
    open_page(browser, runs[1] / "report.html")
    assert browser.find_elements(
        "css selector", "#comparison td.better, #comparison td.undecided, #comparison td.worse"
    )
    browser.execute_script("arguments[0].click()", opener(browser, "task/2"))
    time.sleep(1)
    browser.execute_script("document.querySelector('#body details:not(.heads)').open = true")
    time.sleep(0.5)
    assert browser.find_elements("css selector", "#body .add")
    browser.find_element("css selector", "#close").click()
    browser.find_element("css selector", "#filter option[value=gained]").click()
    assert 0 < len(rows(browser)) < 40


def test_tokens_say_which_head_wrote_them(browser: Any, runs: list[Path]) -> None:
    open_page(browser, runs[1] / "report.html")
    browser.execute_script("arguments[0].click()", opener(browser, "task/1"))
    time.sleep(1)
    browser.execute_script("document.querySelectorAll('#body details.heads').forEach((d) => { d.open = true; })")
    time.sleep(0.5)
    spans = "[...document.querySelectorAll('#body details.heads')].map(d => [...d.querySelectorAll('pre > span')])"
    kinds = browser.execute_script(f"return {spans}.map(of => of.map(s => s.className))")
    assert ["h0", "h1", "h2", "h3", "hx", "h1"] in kinds
    shown = browser.execute_script("return document.querySelector('#body details.heads').textContent")
    assert "the model itself, after a wrong draft: 1" in shown
    assert "an accepted draft of extra head 1: 2" in shown


def test_the_page_speaks_korean_too(browser: Any, runs: list[Path]) -> None:
    open_page(browser, runs[0] / "report.html")
    browser.find_element("id", "language").click()
    assert browser.find_element("id", "metrics-title").text == "지표"
    assert browser.execute_script("return document.documentElement.lang") == "ko"


def test_what_is_folded_is_printed_and_folded_again(browser: Any, runs: list[Path]) -> None:
    open_page(browser, runs[0] / "report.html")
    folded = "document.querySelectorAll('main details:not([open])').length"
    before = browser.execute_script(
        f"addEventListener('beforeprint', () => {{ window.seen = {folded}; }}); return {folded}"
    )
    browser.execute_cdp_cmd("Page.printToPDF", {})
    assert before > 0
    assert browser.execute_script(f"return [window.seen, {folded}]") == [0, before]


def test_no_request_leaves_the_page_and_nothing_is_refused(browser: Any, runs: list[Path]) -> None:
    browser.get_log("browser")
    open_page(browser, runs[0] / "report.html")
    browser.execute_script("arguments[0].click()", opener(browser, "task/1"))
    time.sleep(1)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [u for u in urls if not u.startswith((runs[0].as_uri(), "data:", "blob:"))] == []
    assert [entry["message"] for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []


def keys(browser: Any, *pressed: str) -> None:
    for key in pressed:
        browser.switch_to.active_element.send_keys(key)


def test_every_control_is_reached_by_tab_and_shows_where_one_is(browser: Any, few: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, few)
    found = "[...document.querySelectorAll('main button, main input, main select, main summary, #language')]"
    controls = f"{found}.filter(e => e.checkVisibility())"
    wanted = browser.execute_script(f"return {controls}.length")
    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    seen = []
    for _ in range(4 * wanted):
        at, outline, name = browser.execute_script(
            f"const e = document.activeElement; return [{controls}.indexOf(e), getComputedStyle(e).outlineStyle, e.tagName]"
        )
        if name == "BODY":
            break
        assert outline != "none", name
        seen += [at] if at >= 0 else []
        keys(browser, Keys.TAB)
    assert sorted(seen) == list(range(wanted))


def test_sorting_filtering_and_opening_by_keys_alone(browser: Any, few: Path) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    open_page(browser, few)
    browser.execute_script("document.querySelectorAll('#problems th button')[1].focus()")
    keys(browser, Keys.ENTER)
    assert (
        browser.execute_script("return document.querySelectorAll('#problems th')[1].getAttribute('aria-sort')")
        == "ascending"
    )
    browser.execute_script("document.getElementById('filter').focus()")
    keys(browser, *[Keys.ARROW_DOWN] * 2)
    shown = rows(browser)
    assert browser.execute_script("return document.getElementById('filter').value") == "failed"
    assert 0 < len(shown) <= 6
    browser.execute_script("arguments[0].focus()", opener(browser, shown[0]))
    keys(browser, Keys.ENTER)
    title = "return document.getElementById('title').textContent"
    opened = [browser.execute_script(title)]
    for _ in shown[1:]:
        browser.execute_script("document.getElementById('next').focus()")
        keys(browser, Keys.SPACE)
        opened.append(browser.execute_script(title))
    assert opened == shown  # in the table's order
    assert browser.execute_script("return document.getElementById('next').disabled")
    browser.execute_script("document.querySelector('#body details summary').focus()")
    keys(browser, Keys.ENTER)
    unfolded = "return document.querySelector('#body details').children.length > 1"
    WebDriverWait(browser, 30).until(lambda there: there.execute_script(unfolded))  # filled once it is told to be open
    keys(browser, Keys.ESCAPE)
    waiting = WebDriverWait(browser, 30)  # what follows an event of the dialog's comes a moment later
    waiting.until(lambda there: not there.execute_script("return document.getElementById('dialog').open"))
    waiting.until(
        lambda there: there.switch_to.active_element.text == shown[-1]
    )  # one stands where one stopped reading


def test_a_problem_shows_prompt_failing_test_and_values(browser: Any, few: Path) -> None:
    open_page(browser, few)
    said = {}
    for problem in ("t/4", "t/5"):
        browser.execute_script("arguments[0].click()", opener(browser, problem))
        time.sleep(0.3)
        said[problem] = browser.execute_script("return document.getElementById('body').textContent")
        browser.execute_script("document.getElementById('close').click()")
    assert "</script><b>do</b>" in said["t/4"]
    assert "assert f() == 2" not in said["t/4"]
    assert "The test that failed, 1:assert f() == 2" in said["t/5"]
    flips = browser.execute_script("return [...document.querySelectorAll('.flips button')].map(b => b.textContent)")
    assert sorted(flips) == sorted(rows(browser))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_with_every_part_open_enlarged_and_printed(browser: Any, few: Path, scheme: str) -> None:
    open_page(browser, few)
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    browser.execute_script(AXE.read_text())
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    large = {"width": 640, "height": 500, "deviceScaleFactor": 2, "mobile": False}  # 1280 × 1000 at 200 %
    try:
        for step in ("screen", "print", "large", "dialog"):
            media = "print" if step == "print" else "screen"
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
            if step == "large":
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", large)
            if step == "dialog":
                browser.execute_script("arguments[0].click()", opener(browser, "t/5"))
                time.sleep(0.3)
            browser.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
            time.sleep(0.1)
            found = browser.execute_async_script("const done = arguments[0]; axe.run().then(r => done(r.violations))")
            assert [(v["id"], v["impact"], v["nodes"][0]["html"]) for v in found] == [], step
            assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), step
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_the_first_paint_comes_within_a_second(browser: Any, runs: list[Path], tmp_path: Path) -> None:
    outcomes = {f"{i}": [(i * j) % 3 == 0 for j in range(20)] for i in range(974)}
    codes = [f"def f(x):\n    return x + {i}\n" * 20 for i in range(500)]
    path = write_report([make_run(tmp_path / "big", outcomes, codes)])
    assert path.stat().st_size <= 10e6
    open_page(browser, path)
    for _ in range(100):
        paint = browser.execute_script("return performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
        if paint is not None:
            break
        time.sleep(0.05)
    assert paint < 1000 * (3 if os.environ.get("CI") else 1)  # milliseconds; a busy CI machine is no measure
