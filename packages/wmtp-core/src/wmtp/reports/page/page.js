"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const labels = JSON.parse($("labels").textContent);
  let language = 0;
  const t = (key) => labels[key][language];
  const el = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // Characters that show nothing or turn the direction of reading are shown as they would be escaped.
  const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]+/u;
  const escaped = (text) => [...text].map((c) => c.codePointAt(0)).map((n) => n < 65536 ? "\\u" + n.toString(16).padStart(4, "0") : "\\u{" + n.toString(16) + "}").join("");
  const put = (parent, text, className) => {
    let rest = text;
    while (rest) {
      const found = rest.match(UNSEEN);
      const plain = found ? rest.slice(0, found.index) : rest;
      if (plain) parent.append(className ? el("span", className, plain) : plain);
      if (!found) return;
      parent.append(el("span", "ctl", escaped(found[0])));
      rest = rest.slice(found.index + found[0].length);
    }
  };
  const WORDS = "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield match case";
  const TOKEN = new RegExp(
    "(?<c>#[^\\n]*)|(?<s>(?:[rbfuRBFU]{0,2})(?:\"\"\"[\\s\\S]*?(?:\"\"\"|$)|'''[\\s\\S]*?(?:'''|$)|\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?))" +
    "|(?<k>\\b(?:" + WORDS.split(" ").join("|") + ")\\b)|(?<n>\\b\\d[\\w.]*)", "g");
  const LONGEST = 20000; // characters of one text that are shown: a line of a megabyte takes a browser seconds to lay out
  const cut = (text) => text.length > LONGEST ? text.slice(0, LONGEST) + "\n… " + (text.length - LONGEST) + " " + t("more") : text;
  const block = (label) => {
    const pre = el("pre");
    pre.tabIndex = 0;
    pre.setAttribute("role", "group");
    pre.setAttribute("aria-label", label);
    return pre;
  };
  const plain = (text, label) => { const pre = block(label); put(pre, cut(text)); return pre; };
  const program = (text, label) => {
    const pre = block(label);
    text = cut(text);
    let at = 0;
    for (const match of text.matchAll(TOKEN)) {
      put(pre, text.slice(at, match.index));
      const kind = Object.keys(match.groups).find((k) => match.groups[k] !== undefined);
      put(pre, match[0], kind);
      at = match.index + match[0].length;
    }
    put(pre, text.slice(at));
    return pre;
  };

  // Who wrote each token: a letter a token (0 the model, - the model after a wrong draft, else the head whose draft stood).
  const HEADS = "0123456789abcdefghijklmnopqrstuvwxyz";
  const KINDS = 6; // colours of heads; further ones share the last
  const kindOf = (letter) => letter === "-" ? "hx" : "h" + Math.min(KINDS, HEADS.indexOf(letter));
  const said = (letter) => letter === "-" ? t("heads_wrong") : letter === "0" ? t("heads_none") : t("heads_draft") + " " + HEADS.indexOf(letter);
  // A part that is made when it is opened first.
  const later = (className, label, fill) => {
    const box = el("details", className);
    box.append(el("summary", "", label));
    box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(...fill()); });
    return box;
  };
  const written = (found, label) => later("heads", t("heads"), () => {
    const heads = found[HEADS_OF], legend = el("ul", "legend");
    for (const letter of [...new Set(heads)].sort()) {
      const item = el("li");
      item.append(el("span", kindOf(letter), letter), " " + said(letter) + ": " + [...heads].filter((l) => l === letter).length);
      legend.append(item);
    }
    const pre = block(label + ", " + t("heads")), text = [...cut(data.programs[found[TEXT]])];
    let at = 0;
    for (let i = 0; i < heads.length && at < text.length; i++) {
      const piece = text.slice(at, at + found[CHARACTERS][i]).join("");
      at += found[CHARACTERS][i];
      if (!piece) continue;
      const token = el("span", kindOf(heads[i]));
      token.title = said(heads[i]);
      put(token, piece);
      pre.append(token);
    }
    put(pre, text.slice(at).join(""));
    return [legend, pre];
  });

  // The longest common subsequence of lines.
  const LINES = 2000; // of one program that are compared: the table of the two is their product
  const linesOf = (text) => {
    const lines = cut(text).split("\n");
    return lines.length > LINES ? [...lines.slice(0, LINES), "… " + (lines.length - LINES) + " " + t("lines_more")] : lines;
  };
  const difference = (left, right, label) => {
    const a = linesOf(left), b = linesOf(right), pre = block(label);
    const most = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        most[i][j] = a[i] === b[j] ? most[i + 1][j + 1] + 1 : Math.max(most[i + 1][j], most[i][j + 1]);
    const line = (kind, sign, text) => { const span = el("span", kind); put(span, sign + " " + text); pre.append(span); };
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i] === b[j]) { line("same", " ", a[i]); i++; j++; }
      else if (j >= b.length || (i < a.length && most[i + 1][j] >= most[i][j + 1])) line("del", "−", a[i++]);
      else line("add", "+", b[j++]);
    }
    return pre;
  };

  let data = null;
  const loaded = (async () => {
    const bytes = Uint8Array.from(atob($("data").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    data = JSON.parse(await new Response(stream).text());
    document.documentElement.dataset.ready = "yes";
  })();
  loaded.catch(() => { document.documentElement.dataset.ready = "no"; });

  const runs = JSON.parse($("runs").textContent);
  const dialog = $("dialog");
  // Places in a sample's row, as html.py writes it.
  const [INDEX, CODE, STATUS, DETAIL, TOKENS, SECONDS, PASSED, TESTS, CUT, JUDGED, FAILED, TEXT, HEADS_OF, CHARACTERS] = Array(14).keys();
  const AT_ONCE = 400000; // characters of programs that are laid out when a problem is opened; the rest when they are asked for
  const TESTS_SHOWN = 3;
  let budget = AT_ONCE;
  const factsOf = (found) => [
    found[TESTS] ? found[PASSED] + " / " + found[TESTS] + " " + t("of_tests") : "",
    found[TOKENS] ? found[TOKENS] + " " + t("tokens") : "",
    found[SECONDS] ? found[SECONDS] + " " + t("seconds") : "",
    found[JUDGED] === null ? "" : t("judged") + ": " + found[JUDGED],
    found[CUT] ? t("cut") : "",
    found[FAILED].length > 1 ? t("failed_tests") + ": " + found[FAILED].join(", ") : "",
  ].filter(Boolean).join(" · ");
  const sampleOf = (found, number, run, title) => {
    const box = el("section"), head = el("h3");
    if (!found) { box.append(el("p", "", title + ": —")); return box; }
    put(head, title + " ");
    const status = found[STATUS];
    const badge = el("span", "badge " + (status === "passed" ? "passed" : UNJUDGED.includes(status) ? "" : "failed"));
    put(badge, status);
    head.append(badge);
    box.append(head);
    box.append(el("p", "", factsOf(found)));
    if (found[DETAIL]) box.append(el("p", "", t("detail") + ":"), plain(found[DETAIL], title + ", " + t("detail")));
    for (const n of found[FAILED].filter((n) => n in data.tests[number]).slice(0, TESTS_SHOWN))
      box.append(el("p", "", t("failing") + ", " + n + ":"), program(data.tests[number][n], title + ", " + t("failing") + ", " + n));
    const code = data.programs[found[CODE]], label = title + ", " + t("program");
    budget -= Math.min(code?.length ?? 0, LONGEST);
    if (code === undefined) box.append(el("p", "", t("left_out")));
    else if (code === "") box.append(el("p", "", t(data.has_programs[run] ? "no_program" : "no_programs")));
    else box.append(budget < 0 ? later("", t("program"), () => [program(code, label)]) : program(code, label));
    if (found.length > HEADS_OF) box.append(written(found, title));
    else if (found.length > TEXT) box.append(later("", t("completion"), () => [plain(data.programs[found[TEXT]], title + ", " + t("completion"))]));
    return box;
  };
  const UNJUDGED = ["infrastructure", "not judged", "scored"];
  const valuesOf = (number) => {
    const shown = data.metrics.map((metric, m) => [metric, runs.map((_, r) => data.values[r][number][m])]).filter(([, of]) => of.some((v) => v !== null));
    if (!shown.length) return [];
    const table = el("table"), box = el("div", "wide");
    const head = table.createTHead().insertRow();
    for (const text of [t("metric"), ...(runs.length > 1 ? runs : [t("value")])]) { const cell = el("th"); cell.scope = "col"; put(cell, text); head.append(cell); }
    const body = table.createTBody();
    for (const [metric, of] of shown) {
      const row = body.insertRow(), name = el("th");
      name.scope = "row";
      put(name, metric);
      row.append(name);
      for (const value of of) row.append(el("td", "", value === null ? "—" : String(Math.round(value * 1e6) / 1e6)));
    }
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", t("values"));
    box.append(table);
    return [el("h3", "", t("values")), box];
  };
  const fill = (number) => {
    const body = $("body");
    body.replaceChildren();
    budget = AT_ONCE;
    for (const [prompt, of] of data.prompts[number]) {
      const title = t("prompt") + (data.prompts[number].length > 1 ? " · " + of.map((r) => runs[r]).join(", ") : ""), head = el("h3");
      put(head, title);
      body.append(head, plain(prompt, title));
    }
    body.append(...valuesOf(number));
    const found = runs.map((_, r) => new Map(data.samples[number][r].map((s) => [s[INDEX], s])));
    const indexes = [...new Set(found.flatMap((of) => [...of.keys()]))].sort((a, b) => a - b);
    for (const index of indexes) {
      const pair = el("div", "pair");
      found.forEach((of, r) => pair.append(sampleOf(of.get(index), number, r, (runs.length > 1 ? runs[r] + " · " : "") + t("sample") + " " + index)));
      body.append(pair);
      const both = found.length === 2 && found.map((of) => of.has(index) && data.programs[of.get(index)[CODE]]);
      if (both && both[0] && both[1])
        body.append(later("", t("diff"), () => [difference(...both, t("sample") + " " + index + ", " + t("diff"))]));
    }
    if (!indexes.length && !data.has_programs.every(Boolean)) body.append(el("p", "", t("no_programs")));
  };
  let opener = null, current = -1;
  const show = async (number) => {
    current = number;
    if (!dialog.open) { opener = document.activeElement; dialog.showModal(); }
    $("title").textContent = "";
    try { await loaded; } catch { $("title").textContent = t("no_stream"); return; }
    if (current !== number) return;
    put($("title"), data.names[number]);
    fill(number);
    $("title").focus();
    dialog.scrollTop = 0;
    const [before, after] = beside();
    $("previous").disabled = before === undefined;
    $("next").disabled = after === undefined;
  };
  // The problems before and behind the one that is open, as the table shows them now.
  const beside = () => {
    const order = [...$("problems").tBodies[0].rows].filter((row) => !row.hidden).map((row) => Number(row.cells[0].firstElementChild.dataset.problem));
    const at = order.indexOf(current);
    return at < 0 ? [undefined, order[0]] : [order[at - 1], order[at + 1]];
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-problem]");
    if (button) show(Number(button.dataset.problem));
  });
  $("close").addEventListener("click", () => dialog.close());
  $("previous").addEventListener("click", () => show(beside()[0]));
  $("next").addEventListener("click", () => show(beside()[1]));
  dialog.addEventListener("close", () => {
    const row = opener && opener.closest("#problems") ? $("problems").querySelector("button[data-problem='" + current + "']") : null;
    const target = row && !row.closest("tr").hidden ? row : opener;
    if (target) target.focus();
  });

  const rows = [...document.querySelectorAll("#problems tbody tr")];
  const searched = rows.map((row) => row.cells[0].textContent.toLowerCase());
  const filter = () => {
    const words = $("search").value.trim().toLowerCase(), kind = $("filter").value;
    let shown = 0;
    for (const [number, row] of rows.entries()) {
      row.hidden = !(searched[number].includes(words) && (kind === "all" || row.dataset.kinds.split(" ").includes(kind)));
      shown += !row.hidden;
    }
    $("count").textContent = shown + " " + t("shown");
  };
  $("search").addEventListener("input", filter);
  $("filter").addEventListener("change", filter);
  document.querySelectorAll("#problems th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.closest("th"), column = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    document.querySelectorAll("#problems th").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => Number(column ? row.cells[column].dataset.v : row.cells[0].firstElementChild.dataset.problem);
    const compared = (a, b) => key(a) - key(b);
    $("problems").tBodies[0].append(...[...rows].sort((a, b) => (up ? 1 : -1) * compared(a, b)));
  }));

  const speak = () => {
    document.documentElement.lang = language ? "ko" : "en";
    document.querySelectorAll("[data-t]").forEach((node) => { node.textContent = t(node.dataset.t); });
    $("search").setAttribute("aria-label", t("search"));
    $("search").placeholder = t("search");
    filter();
    if (dialog.open && data) fill(current);
  };
  $("language").addEventListener("click", () => { language = 1 - language; speak(); });
  if ((navigator.language || "").startsWith("ko")) language = 1;
  document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", async () => {
    const text = $(button.dataset.from).textContent;
    try { await navigator.clipboard.writeText(text); } catch { getSelection().selectAllChildren($(button.dataset.from)); document.execCommand("copy"); }
    button.firstElementChild.textContent = t("copied");
  }));
  // On paper nothing can be unfolded.
  let folded = [];
  addEventListener("beforeprint", () => { folded = [...document.querySelectorAll("main details:not([open])")]; folded.forEach((box) => { box.open = true; }); });
  addEventListener("afterprint", () => folded.forEach((box) => { box.open = false; }));
  speak();
})();
