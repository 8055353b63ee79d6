"""A page is made of escaped text and our own pictures: whatever it is given, it holds no tag and no attribute of a caller."""

import ast
import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tre.rules import page
from tre.rules.page import Look, Tag, document, drawing, element, picture
from tre.rules.text import visible

TREE = Path(page.__file__).resolve().parents[1]
ALLOWED = {t.value for t in Tag} | {"html", "head", "meta", "title", "style", "body", "img"}
HOSTILE = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["<", ">", '"', "'", "&", "/", "=", "script", "img", "onerror", "</pre>", "</style>", "<!--", "]]>", "\x00"]
        ),
        max_size=30,
    ).map("".join),
)


class Seen(HTMLParser):
    """Every tag, attribute and text of a page, as an HTML parser takes them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


@given(HOSTILE, HOSTILE)
def test_whatever_text_goes_in_comes_out_as_text(title, text):
    seen = Seen(document(title, element(Tag.SECTION, element(Tag.VERBATIM, text, look=Look.CLAIM))))
    assert set(seen.tags) <= ALLOWED
    assert seen.tags.count("section") == seen.tags.count("pre") == 1
    assert {(t, n) for t, n, _ in seen.attributes} == {
        ("html", "lang"), ("meta", "charset"), ("meta", "http-equiv"), ("meta", "content"), ("meta", "name"), ("pre", "class"),
    }  # fmt: skip
    assert visible(text) in "".join(seen.texts)


def test_no_tag_of_a_page_loads_links_submits_or_runs():
    acting = {
        "a",
        "area",
        "audio",
        "base",
        "embed",
        "form",
        "frame",
        "iframe",
        "input",
        "link",
        "object",
        "script",
        "svg",
        "video",
    }
    assert not {t.value for t in Tag} & acting


def test_a_drawing_is_base64_of_its_bytes_inside_an_image():
    assert re.fullmatch(
        r'<img alt="a drawing" src="data:image/svg\+xml;base64,[A-Za-z0-9+/=]+">', drawing(b'<svg onload="x()"/>').html
    )


def test_a_picture_is_base64_of_its_bytes_and_nothing_else():
    made = picture(b'"><script>').html
    (source,) = re.findall(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"', made)
    assert base64.b64decode(source) == b'"><script>'
    assert made.count("<") == made.count(">") == 1


def test_the_policy_names_the_pages_own_style_and_allows_nothing_else():
    policy = page.HEADERS["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(page.STYLE.encode()).digest()).decode()
    parts = dict(p.strip().partition(" ")[::2] for p in policy.split(";"))
    assert parts == {
        "default-src": "'none'", "img-src": "data:", "style-src": f"'sha256-{digest}'", "base-uri": "'none'",
        "form-action": "'none'", "frame-ancestors": "'none'", "sandbox": "",
    }  # fmt: skip
    assert f"<style>{page.STYLE}</style>" in document("t")
    assert "url(" not in page.STYLE
    assert "@import" not in page.STYLE


def _makers(source, name):
    """Calls of `Markup` in a module's text."""
    found = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    return [name for n in found if (getattr(n.func, "id", None) or getattr(n.func, "attr", None)) == "Markup"]


def test_only_this_module_makes_markup():
    """But for a template's one style sheet, a file of ours."""
    makers = {m for p in TREE.rglob("*.py") for m in _makers(p.read_text(), p.relative_to(TREE).as_posix())}
    assert makers == {"rules/page.py", "gateway/pages/render.py"}
    render = (TREE / "gateway" / "pages" / "render.py").read_text()
    assert len(_makers(render, "render")) == render.count("Markup(STYLE)") == 1
    assert _makers("x = page.Markup(text)", "planted") == ["planted"]
