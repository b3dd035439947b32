"""The report page: nothing in it can act, nothing in it depends on the clock, and a reader sees every value."""

import base64
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from molino.transforms.report import page as module
from molino.transforms.report.charts import bar_plot, line_plot
from molino.transforms.report.page import Gallery, Picture, Plot, Section, Table, Term, page, path_link
from tests.transforms.report.test_charts import series_of, texts_of

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</style></title><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "]]><!--",
]
TAGS = re.compile(
    "html|head|meta|title|style|body|header|h1|h2|p|nav|a|main|aside|ul|li|dl|div|dt|dd|section|table|caption|thead|"
    "tbody|tr|th|td|small|figure|img|figcaption|footer|b|i|label|select|option"
)
ATTRIBUTES = re.compile(
    "lang|charset|http-equiv|content|name|class|style|id|href|aria-label|aria-labelledby|role|tabindex|scope|src|alt|"
    "width|height|loading|decoding|autocomplete"
)
SVG_TAGS = {"svg", "defs", "style", "g", "path", "use", "text", "clipPath", "rect"}
ROOT = pathlib.Path(__file__).parents[3]


class Parsed(HTMLParser):
    """What a browser would make of a page: its tags, its text, and its pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def pictures(self) -> list[tuple[str, str]]:
        """Return the (SVG, alt text) of every picture."""
        prefix = "data:image/svg+xml;base64,"
        images = [attributes for tag, attributes in self.tags if tag == "img" and "loading" not in attributes]
        assert all(image["src"].startswith(prefix) for image in images)
        return [(base64.b64decode(image["src"].removeprefix(prefix)).decode(), image["alt"]) for image in images]

    def photographs(self) -> list[tuple[bytes, str]]:
        """Return the (JPEG, alt text) of every photograph."""
        prefix = "data:image/jpeg;base64,"
        images = [attributes for tag, attributes in self.tags if tag == "img" and "loading" in attributes]
        assert all(image["src"].startswith(prefix) for image in images)
        return [(base64.b64decode(image["src"].removeprefix(prefix)), image["alt"]) for image in images]


def assert_harmless(html: str) -> Parsed:
    """Fail if the page holds anything that could run, fetch or navigate away; return it parsed."""
    found = Parsed(html)
    assert all(TAGS.fullmatch(tag) for tag, _ in found.tags)
    assert all(ATTRIBUTES.fullmatch(name) for _, attributes in found.tags for name in attributes)
    local = re.compile(r"#s\d+|(file:///|(?!/))([\w.~/-]|%[0-9A-F]{2})+", re.ASCII)  # no host
    assert all(local.fullmatch(attributes["href"]) for _, attributes in found.tags if "href" in attributes)
    styles = [attributes["style"] for _, attributes in found.tags if "style" in attributes]
    assert all(re.fullmatch(r"--part:[01]\.\d{3}|(--o\d+:\d+;)+", style) for style in styles)
    assert "<script" not in html.lower()
    assert not re.search("https?://", html)
    for svg, alt in found.pictures():
        assert alt.strip()
        assert {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()} <= SVG_TAGS
        remote = re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", svg)
        assert not re.search("https?:", remote)
        assert all(ref.startswith("#") for ref in re.findall(r'href="([^"]*)"', remote))
    return found


def whole_page(text: str = "plain") -> str:
    """Return a page with `text` in every field that takes one."""
    rows = [{text: first, f"{text}2": second} for first, second in [(text, 5), (Term(text, text), 10), (None, text)]]
    table = Table(rows, text, bar=f"{text}2")
    lines = line_plot([series_of(text), series_of("other")], x_label=text, y_label=text, caption=text, alt=text)
    bars = bar_plot([text, "b"], {text: [1, 2]}, x_label=text, y_label=text, caption=text, alt=text)
    links = [(text, f"./{text}"), ("b", "b")]
    picture = Picture(jpeg=b"\xff\xd8", title=text, note=text, mark=text, links=links)
    plain = Gallery([picture], text)
    gallery = Gallery([picture], text, [(text, ["other", text], [1])], {text: [0]})
    sections = [
        Section(text, text, [table, lines, bars]),
        Section(text, text),
        Section(text, text, [table, plain, gallery]),
    ]
    links = [(text, ""), (text, "report/page-0002.html")]
    return page(text, subtitle=[text, text], summary=[(text, text)], sections=sections, warnings=[text], links=links)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(text):
    found = assert_harmless(whole_page(text))
    assert found.text.count(text) >= 20
    assert [alt for _, alt in found.pictures()] == [text, text]
    assert found.photographs() == [(b"\xff\xd8", text)] * 2
    assert all(text in texts_of(svg) for svg, _ in found.pictures())


@pytest.mark.parametrize("name", ["javascript:alert(1)", "a b.html", 'x.html"', "data:text/html,x", "x.html?a=1#b"])
def test_a_link_leads_to_a_file_and_nowhere_else(name):
    html = page("x", sections=[], links=[("text", name)])
    assert_harmless(html)
    assert f'href="{urllib.parse.quote(name)}"' in html


def test_a_picture_leads_to_its_file():
    picture = Picture(
        jpeg=b"", title="t", note="n", links=[("photograph", "../a b/ñ#1?.jpg"), ("crop", "javascript:x()")]
    )
    html = page("x", sections=[Section("a", "b", [Gallery([picture], "")])])
    assert_harmless(html)
    assert re.findall(r'<a href="([^"#]*)">\s*(<?\w+)', html) == [
        ("../a%20b/%C3%B1%231%3F.jpg", "<div"),
        ("../a%20b/%C3%B1%231%3F.jpg", "photograph"),
        ("javascript%3Ax%28%29", "crop"),
    ]
    assert path_link(os.fsdecode(b"\xf1")) == "%F1"
    assert path_link("/sea/ñ.jpg") == "file:///sea/%C3%B1.jpg"
    assert path_link("//host/x") == "file:////host/x"


def test_a_picture_that_is_not_there_is_said():
    for pictures, said in (([Picture(jpeg=b"", title="t", note="n")], "No picture"), ([], "No data")):
        html = page("x", sections=[Section("a", "b", [Gallery(pictures, "")])])
        assert said in assert_harmless(html).text


def test_hidden_characters_are_written_out():
    found = assert_harmless(whole_page("a\x00\n\u202eb\udce9"))
    assert "a\\x00\\n\\u202eb\\udce9" in found.text
    assert whole_page("a\udce9").encode()


def test_the_policy_forbids_everything_but_inline_styles_and_pictures():
    html = whole_page()
    policy = Parsed(html).tags[3]
    assert policy[1]["http-equiv"] == "Content-Security-Policy"
    assert policy[1]["content"].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert html.index("Content-Security-Policy") < html.index("<style")


def test_redaction_reaches_every_text_and_comes_before_clipping():
    def redact(text: str) -> str:
        return text.replace("secret", "[hidden]")

    long = "x" * (module.CLIP - 3) + "secret"
    table = Table([{"secret": "secret"}, {"secret": long}], "secret")
    lone = Plot("<svg/>", "secret", "secret")
    html = page(
        "secret",
        subtitle=["secret"],
        summary=[("secret", "secret")],
        sections=[Section("secret", "secret", [table, lone])],
        warnings=["secret"],
        redact=redact,
    )
    assert not re.search("sec(?!tion)", html)
    assert "x…" not in html
    assert "[hi…" in html


def test_the_same_content_gives_the_same_bytes_in_any_process():
    code = "import hashlib; from tests.transforms.report import test_page as here; "
    code += "print(hashlib.sha256(here.whole_page().encode()).hexdigest())"
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        digests.add(run.stdout)
    assert len(digests) == 1


def test_the_same_content_gives_the_same_bytes_in_threads():
    expected = [whole_page(str(n)) for n in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        found = list(threads.map(whole_page, [str(n % 4) for n in range(16)]))
    assert found == expected * 4


def test_no_data_is_said_and_needs_no_matplotlib():
    code = """
import sys
from molino.transforms.report.charts import *
from molino.transforms.report.page import *
parts = [
    Table([], "t"),
    line_plot([Series(label="x", x=[], y=[])], x_label="", y_label="", caption="c", alt="a"),
    bar_plot([], {}, x_label="", y_label="", caption="c", alt="a"),
]
print(page("t", sections=[Section("s", "t", parts)]).count("No data"), "matplotlib" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "3 False\n"


def test_a_bare_page_is_harmless():
    found = assert_harmless(page("Bare"))
    assert not {"nav", "aside", "dl", "section"} & {tag for tag, _ in found.tags}


def test_cells_are_written_by_kind_and_numbers_stand_right():
    rows = [{"name": "A", "n": 1234567, "m": 4.25, "s": 1e-9}, {"name": "B", "n": 0, "m": None, "s": 0}]
    html = page("t", sections=[Section("s", "t", [Table(rows, "c", shares=["s"], bar="n")])])
    assert '<td class="text">A</td><td class="number bar" style="--part:1.000">1,234,567</td>' in html
    assert '<td class="number">4.2</td><td class="number">&lt;0.01%</td>' in html
    assert '<td class="number">–</td><td class="number">0.00%</td>' in html


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -1, "text"])
def test_a_cell_that_is_no_length_has_no_bar(value):
    table = Table([{"x": value}, {"x": 2.0}], "c", bar="x")
    assert [cell["part"] for cell in module.write_columns(table)["x"]] == ["", "1.000"]


def test_a_picture_without_alt_text_is_an_error():
    with pytest.raises(ValueError, match="plot 'ages' has no alt text"):
        Plot("<svg/>", "ages", " ")


def _gallery():
    pictures = [Picture(jpeg=b"", title=title, note="") for title in ("a 1", "b 1", "b 2")]
    filters = [("Kind", ["b", "a"], [1, 0, 0]), ("Size", ["1", "2"], [0, 0, 1])]
    return Gallery(pictures, "three", filters, {"first": [0, 1, 2], "last": [3, 2, 1]})


def test_what_is_chosen_in_a_gallery_hides_and_orders():
    html = page("t", sections=[Section("s", "", [_gallery()])])
    found = assert_harmless(html)
    figures = [attributes for tag, attributes in found.tags if tag == "figure"]
    assert [(figure["class"], figure["style"]) for figure in figures] == [
        ("f0v1 f1v0", "--o0:0;--o1:3;"),
        ("f0v0 f1v0", "--o0:1;--o1:2;"),
        ("f0v0 f1v1", "--o0:2;--o1:1;"),
    ]
    # the second option of the first select is its first value
    assert "#g1-1:has(.f0>option:nth-child(2):checked) figure:not(.f0v0){display:none}" in html
    assert "#g1-1:has(.order>option:nth-child(2):checked) figure{order:var(--o1)}" in html
    selects = re.findall(r'<select class="(\w+)" autocomplete="off">(.*?)</select>', html, re.DOTALL)
    options = {name: re.findall("<option>(.*?)</option>", text) for name, text in selects}
    assert options == {"order": ["first", "last"], "f0": ["all", "b", "a"], "f1": ["all", "1", "2"]}
    assert 'id="g1-1"' in html
