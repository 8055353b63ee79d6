"""What is wrong with a page for people who see it badly, or not at all: a short table of checks, and axe-core where it can be had.

The table is ours, of the failures that a page of text, tables and forms can have (WCAG 2.2: 1.1.1, 1.3.1, 1.4.3, 2.4.1, 2.4.2,
2.4.4, 2.4.7, 3.1.1, 3.3.2, 4.1.1). It is no audit by people.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile

CHECKS = r"""(() => {
  const wrong = [], all = (s) => [...document.querySelectorAll(s)];
  const say = (rule, e) => wrong.push(rule + ": " + e.outerHTML.slice(0, 120));
  const name = (e) => (e.getAttribute("aria-label") || e.textContent || "").trim();
  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title.trim()) wrong.push("no title");
  if (all("h1").length !== 1) wrong.push("not one h1");
  if (all("main").length !== 1) wrong.push("not one main");
  let level = 0;
  for (const h of all("h1,h2,h3,h4")) {
    const now = Number(h.tagName[1]);
    if (now > level + 1) say("a heading's level is skipped", h);
    if (!name(h)) say("an empty heading", h);
    level = now;
  }
  for (const e of all("input:not([type=hidden]), textarea, select")) if (!e.labels.length) say("no label", e);
  for (const e of all("a[href], button")) if (!name(e)) say("no name", e);
  for (const e of all("img")) if (!e.alt.trim()) say("no alternative text", e);
  for (const e of all("table")) if (!e.querySelector("th[scope]")) say("no headers", e);
  for (const e of all("fieldset")) if (!e.querySelector("legend")) say("no legend", e);
  const ids = all("[id]").map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("two of id " + id);
  for (const a of all('a[href^="#"]')) if (!document.getElementById(a.hash.slice(1))) say("leads nowhere", a);
  for (const e of all("[aria-labelledby], [aria-describedby]"))
    for (const id of ((e.getAttribute("aria-labelledby") || "") + " " + (e.getAttribute("aria-describedby") || "")).split(" "))
      if (id && !document.getElementById(id)) say("is described by nothing", e);
  for (const e of all("body *"))
    if (e.scrollHeight > e.clientHeight + 1 && ["auto", "scroll"].includes(getComputedStyle(e).overflowY) && e.tabIndex < 0)
      say("scrolls by mouse only", e);
  const parts = (c) => c.match(/[\d.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  for (const e of all("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color).slice(0, 3)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) say("contrast " + ((a + .05) / (b + .05)).toFixed(2), e);
  }
  return wrong;
})()"""

AXE, SHA256 = "axe-core@4.10.2", "b511cd9dec01c76f4b2ad1723b66b6db37d4c2eb4ed199076e1829d9ee7b75e3"
SERIOUS = r"""axe.run(document, {resultTypes: ["violations"]}).then((found) =>
  found.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => v.id + ": " + v.nodes[0].html.slice(0, 120)))"""


def wrong(page):
    """What our own table finds, in words."""
    return page.ask(CHECKS)


def axe(folder):
    """axe-core's source, got from the npm registry by its own client; None where that cannot be done."""
    if shutil.which("npm") is None:
        return None
    environment = {**os.environ, "npm_config_cache": str(folder / "cache")}
    try:
        command = [
            "npm",
            "pack",
            AXE,
            "--silent",
            "--ignore-scripts",
            "--fetch-retries=0",
            "--pack-destination",
            str(folder),
        ]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError):
        return None
    (packed,) = folder.glob("axe-core-*.tgz")
    with tarfile.open(packed) as archive:
        content = archive.extractfile("package/axe.min.js").read()
    assert hashlib.sha256(content).hexdigest() == SHA256, "not the axe-core that was looked at"
    return content.decode()


def serious(page, source):
    """axe-core's serious and critical findings. It is put in by the debugger, past the page's policy."""
    page.ask(source + ";true")
    return page.ask(SERIOUS)
