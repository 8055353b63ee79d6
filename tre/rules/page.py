"""An HTML page that does nothing: built from escaped text and our own pictures only.

Guarantees: no function here takes HTML from a caller; a text becomes text, with every control and format character written
out; tags and looks are closed lists; no attribute holds a caller's text (a picture's is base64 of its bytes, made here). There
is no tag that loads, links, submits or runs. `HEADERS`, and the same policy inside the page for when it is opened as a file,
forbid it once more: should one of the two fail, the other holds.
Not done here: deciding whether bytes are a picture (`inert.raster`, and whoever draws it anew).
"""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import dataclass
from enum import StrEnum

from tre.rules.text import visible


class Tag(StrEnum):
    """All that a page is made of. None of these fetches, links, submits or runs."""

    HEADING = "h1"
    SUBHEADING = "h2"
    LABEL = "h3"
    PARAGRAPH = "p"
    VERBATIM = "pre"
    SECTION = "section"
    BLOCK = "div"


class Look(StrEnum):
    """The classes of STYLE."""

    PAIR = "pair"
    WARNING = "warning"
    NOTE = "note"
    CLAIM = "claim"


# bidi-override: characters stand in the order in which they are stored, whatever their script.
# overflow: what is drawn over its line (a stack of accents) does not cover what stands beside it.
STYLE = """
:root { color-scheme: light dark; }
body { margin: 1rem auto; max-width: 100rem; padding: 0 1rem; font: 1rem/1.5 sans-serif; }
section { border-top: 1px solid; margin-top: 1rem; overflow: hidden; }
pre { direction: ltr; unicode-bidi: bidi-override; white-space: pre-wrap; overflow-wrap: anywhere; overflow: hidden;
      padding: .5rem; border: 1px solid #8888; font: .85rem/1.4 monospace; }
h2, h3 { font-size: 1rem; margin: .5rem 0; }
img { max-width: 100%; border: 1px dashed; background: #fff; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1rem; }
.warning { border: 3px solid #c00; padding: .5rem; font-weight: bold; }
.note { font-style: italic; }
.claim { border-left: 6px double #c80; padding-left: .5rem; overflow: hidden; }
@media print { body { margin: 0; max-width: none; } section { break-inside: avoid; } h1, h2, h3 { break-after: avoid; } }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# What a page's own <meta> may say; `sandbox` and `frame-ancestors` count in a header only.
_POLICY = f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
HEADERS = {
    "content-security-policy": f"{_POLICY}; frame-ancestors 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-dns-prefetch-control": "off",
}
MEDIA_TYPE = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Markup:
    """A finished part of a page. Made by the functions of this module only; a test looks for any other maker."""

    html: str


def element(tag: Tag, *children: Markup | str, look: Look | None = None) -> Markup:
    """One element; a child that is a `str` is text, whatever it holds."""
    inner = "".join(c.html if isinstance(c, Markup) else html.escape(visible(c)) for c in children)
    kind = f' class="{look.value}"' if look is not None else ""
    # HTML drops one line end right after <pre>: a text that begins with one keeps it.
    first = "\n" if tag is Tag.VERBATIM else ""
    return Markup(f"<{tag.value}{kind}>{first}{inner}</{tag.value}>")


def picture(png: bytes) -> Markup:
    """A PNG that our own code has drawn."""
    return Markup(f'<img alt="a picture" src="data:image/png;base64,{base64.b64encode(png).decode()}">')


def drawing(svg: bytes) -> Markup:
    """An SVG that our own code has drawn: as an image it runs nothing and loads nothing, whatever is in it."""
    return Markup(f'<img alt="a drawing" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">')


def document(title: str, *children: Markup) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(visible(title))}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(c.html for c in children)
        + "\n</body>\n</html>\n"
    )
