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
  const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]/u;
  const put = (parent, text, className) => {
    let rest = text;
    while (rest) {
      const found = rest.search(UNSEEN);
      const plain = found < 0 ? rest : rest.slice(0, found);
      if (plain) parent.append(className ? el("span", className, plain) : plain);
      if (found < 0) return;
      parent.append(el("span", "ctl", "\\u" + rest.charCodeAt(found).toString(16).padStart(4, "0")));
      rest = rest.slice(found + 1);
    }
  };
  const WORDS = "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield match case";
  const TOKEN = new RegExp(
    "(?<c>#[^\\n]*)|(?<s>(?:[rbfuRBFU]{0,2})(?:\"\"\"[\\s\\S]*?(?:\"\"\"|$)|'''[\\s\\S]*?(?:'''|$)|\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?))" +
    "|(?<k>\\b(?:" + WORDS.split(" ").join("|") + ")\\b)|(?<n>\\b\\d[\\w.]*)", "g");
  const LONGEST = 20000; // characters of one text that are shown: a line of a megabyte takes a browser seconds to lay out
  const cut = (text) => text.length > LONGEST ? text.slice(0, LONGEST) + "\n… " + (text.length - LONGEST) + " " + t("more") : text;
  const program = (text) => {
    const pre = el("pre");
    pre.tabIndex = 0;
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
  const written = (found) => {
    const box = el("details", "heads");
    box.append(el("summary", "", t("heads")));
    box.addEventListener("toggle", () => {
      if (!box.open || box.children.length > 1) return;
      const legend = el("ul", "legend");
      for (const letter of [...new Set(found[6])].sort()) {
        const item = el("li");
        item.append(el("span", kindOf(letter), letter), " " + said(letter) + ": " + [...found[6]].filter((l) => l === letter).length);
        legend.append(item);
      }
      const pre = el("pre"), text = [...cut(data.programs[found[5]])];
      pre.tabIndex = 0;
      let at = 0;
      for (let i = 0; i < found[6].length && at < text.length; i++) {
        const piece = text.slice(at, at + found[7][i]).join("");
        at += found[7][i];
        if (!piece) continue;
        const token = el("span", kindOf(found[6][i]));
        token.title = said(found[6][i]);
        put(token, piece);
        pre.append(token);
      }
      put(pre, text.slice(at).join(""));
      box.append(legend, pre);
    });
    return box;
  };

  // The longest common subsequence of lines.
  const difference = (left, right) => {
    const a = cut(left).split("\n"), b = cut(right).split("\n"), pre = el("pre");
    pre.tabIndex = 0;
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

  const runs = JSON.parse($("runs").textContent);
  const dialog = $("dialog");
  const sampleOf = (found, title) => {
    const box = el("section"), head = el("h3");
    if (!found) { box.append(el("p", "", title + ": —")); return box; }
    put(head, title + " ");
    head.append(el("span", "badge " + (found[1] === "passed" ? "passed" : "failed"), found[1]));
    box.append(head);
    const facts = el("p", "", found[3] + " " + t("tokens") + ", " + found[4] + " " + t("seconds"));
    box.append(facts);
    if (found[2]) { box.append(el("p", "", t("detail") + ":")); const pre = el("pre"); pre.tabIndex = 0; put(pre, cut(found[2])); box.append(pre); }
    box.append(data.programs[found[0]] === "" ? el("p", "", t("no_program")) : program(data.programs[found[0]]));
    if (found[6]) box.append(written(found));
    return box;
  };
  const show = async (problem) => {
    await loaded;
    const body = $("body");
    body.replaceChildren();
    $("title").textContent = "";
    put($("title"), problem);
    const prompt = data.prompts[problem];
    if (prompt) { const pre = el("pre"); pre.tabIndex = 0; put(pre, cut(prompt)); body.append(pre); }
    const found = runs.map((_, r) => data.samples[r][problem] || []);
    const most = Math.max(...found.map((s) => s.length));
    for (let index = 0; index < most; index++) {
      const pair = el("div", "pair");
      found.forEach((s, r) => pair.append(sampleOf(s[index], (runs.length > 1 ? runs[r] + " · " : "") + t("sample") + " " + index)));
      body.append(pair);
      if (found.length === 2 && found[0][index] && found[1][index]) {
        const box = el("details");
        box.append(el("summary", "", t("diff")));
        box.addEventListener("toggle", () => {
          if (box.open && box.children.length === 1)
            box.append(difference(data.programs[found[0][index][0]], data.programs[found[1][index][0]]));
        });
        body.append(box);
      }
    }
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-problem]");
    if (button) show(button.dataset.problem);
  });
  $("close").addEventListener("click", () => dialog.close());

  const rows = [...document.querySelectorAll("#problems tbody tr")];
  const filter = () => {
    const words = $("search").value.toLowerCase(), kind = $("filter").value;
    let shown = 0;
    for (const row of rows) {
      row.hidden = !(row.dataset.name.includes(words) && (kind === "all" || row.dataset.kinds.split(" ").includes(kind)));
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
    const key = (row) => { const v = row.cells[column].dataset.v; return v === undefined ? row.dataset.order : v; };
    const compared = (a, b) => Number(key(a)) - Number(key(b));
    $("problems").tBodies[0].append(...[...rows].sort((a, b) => (up ? 1 : -1) * compared(a, b)));
  }));

  const speak = () => {
    document.documentElement.lang = language ? "ko" : "en";
    document.querySelectorAll("[data-t]").forEach((node) => { node.textContent = t(node.dataset.t); });
    $("search").setAttribute("aria-label", t("search"));
    $("search").placeholder = t("search");
    filter();
  };
  $("language").addEventListener("click", () => { language = 1 - language; speak(); });
  if ((navigator.language || "").startsWith("ko")) language = 1;
  document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", async () => {
    const text = $(button.dataset.from).textContent;
    try { await navigator.clipboard.writeText(text); } catch { getSelection().selectAllChildren($(button.dataset.from)); document.execCommand("copy"); }
    button.textContent = t("copied");
  }));
  speak();
})();
