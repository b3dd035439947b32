"""JSON lines: the same rows from any cut and from both parsers, and every other line a reject with its reason."""

import gzip
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.errors import DataError
from molino.transforms.files.list_files import list_files
from molino.transforms.text import json_lines, sources
from molino.transforms.text.command_line import CommandLine
from tests.transforms.text.test_read import read, write

COLUMNS = {"title": "title", "category": "category", "keep.id": "id"}
TEXT = sources.TextFormat(columns=COLUMNS, quote='"', escape="\\", delimiter="auto", optional=("category",))

# a line; then its title, category and id, or why it is rejected
LINES: list[tuple[bytes, tuple | str]] = [
    (b'{"title":"a","category":"X","id":"1"}', ("a", "X", "1")),
    (b'{"title": "caf\\u00e9 \\ud83d\\ude00", "other": [1, {"title": "no"}]}', ("café 😀", None, None)),
    ('{"title":"é ñ\u2028","category":"","id":""}'.encode(), ("é ñ\u2028", "", "")),
    (b'{"category":2.50,"title":17,"id":1e2}', ("17", "2.50", "1e2")),
    (b'{"title":"t","category":true,"id":null}', ("t", "true", None)),
    (b' \t{"title":"t"} ', ("t", None, None)),
    (b'\xef\xbb\xbf{"title":"put together"}', ("put together", None, None)),
    (b'{"title":"t","id":{"a":[1.0,"\\u00f1",null],"b":{}}}', ("t", None, '{"a":[1.0,"ñ",null],"b":{}}')),
    (b'{"ti\\u0074le":"t","other":"x","other":"y"}', ("t", None, None)),
    (b'{"title":"t","deep":' + b"[" * 150 + b"]" * 150 + b"}", ("t", None, None)),
    (b'{"title":"t","deep":' + b"[" * 250 + b"]" * 250 + b"}", "bad_json"),
    (b'{"title":"' + b"[" * 300 + b'"}', ("[" * 300, None, None)),
    (b"", "empty_line"),
    (b"nope", "bad_json"),
    (b'["title"]', "bad_json"),
    (b'{"title":"a"} {"title":"b"}', "bad_json"),
    (b'{"title":"a"}{"title":"b"}', "bad_json"),
    (b'{"title":"a",', "bad_json"),
    (b'"category":"b"}', "bad_json"),
    (b'{"title":"a","title":"b"}', "bad_json"),
    (b'{"title":"a","id":{"x":1,"x":2}}', "bad_json"),
    (b'{"title":"a","other":NaN}', "bad_json"),
    (b'{"title":"a","other":Infinity}', "bad_json"),
    (b'{"title":"a","other":[-Inf ]}', "bad_json"),
    (b'{"title":"a\tb"}', "bad_json"),
    (b"{'title':'a'}", "bad_json"),
    (b'{"title":null,"category":"X"}', "null_value"),
    (b'{"category":"X"}', "null_value"),
    (b"{}", "null_value"),
    (b'{"title":["a"]}', "nested_value"),
    (b'{"title":"a","category":{"b":1}}', "nested_value"),
    (b'{"title":"\\ud83d"}', "bad_encoding"),
    (b'{"title":"\xff"}', "bad_encoding"),
    (b'{"title":"a\0"}', "nul_byte"),
    (b'{"title":"' + b"x" * 600 + b'"}', "line_too_long"),
]
FIRST = b'{"title":"first","category":"c","id":"0"}'


def expected(chosen):
    rows = [(n, what) for n, (_, what) in enumerate(chosen, 1) if isinstance(what, tuple)]
    return rows, [(n, what) for n, (_, what) in enumerate(chosen, 1) if isinstance(what, str)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(LINES), max_size=25),
    st.integers(1, 500),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.booleans(),
    st.sampled_from(["", "gzip"]),
)
def test_any_cut_gives_the_same_rows_and_each_other_line_its_reason(tmp_path_factory, lines, cut, end, mark, packed):
    text = sources.TextFormat(**{**TEXT.__dict__, "max_line_bytes": 560})
    chosen = [(FIRST, ("first", "c", "0")), *lines]
    data = b"\xef\xbb\xbf" * mark + end.join(line for line, _ in chosen) + end
    path = tmp_path_factory.mktemp("json") / "f"
    files = write(path, gzip.compress(data) if packed else data)
    rows, rejects = read(files, text, cut, max(cut, 100))
    assert ([row[1:] for row in rows], sorted(reject[1:] for reject in rejects)) == expected(chosen)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.sampled_from(["title", "category", "id", "x", "y"]), VALUES | st.text(), max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=8), st.booleans())
def test_arrow_and_python_give_the_same(tmp_path_factory, objects, ascii_only):
    lines = [json.dumps(each, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for each in objects]
    source = sources.list_sources(write(tmp_path_factory.mktemp("json") / "f", FIRST), TEXT)[0]
    text, data = source.format_of(TEXT), b"".join(line + b"\n" for line in lines)
    apart = [json_lines.parse_json(line + b"\n", source, text, 0, n) for n, line in enumerate(lines)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "parse_strings", lambda *_: None)
        slow = json_lines.parse_json(data, source, text, 0, 0)
    for made in (json_lines.parse_json(data, source, text, 0, 0), slow):
        assert made.rows.to_pylist() == [row for chunk in apart for row in chunk.rows.to_pylist()]
        assert made.rejects.to_pylist() == [row for chunk in apart for row in chunk.rejects.to_pylist()]


def test_lines_of_strings_alone_are_parsed_by_arrow(tmp_path):
    source = sources.list_sources(write(tmp_path / "f", FIRST), TEXT)[0]
    data = b"".join(b'{"title":"t%d, NaN: Infantil","category":"c","n":%d}\n' % (n, n) for n in range(9))
    ends = json_lines.cut_lines(data)[1]
    assert json_lines.parse_strings(data, ends, ["title"], source.format_of(TEXT)).num_rows == 9


def test_it_is_told_by_its_first_bytes_and_is_utf_8_unless_an_option_says_otherwise(tmp_path):
    latin = sources.TextFormat(columns={"title": "title"}, encoding="latin-1")
    for name, command in (("ñ", CommandLine()), ("Ã±", CommandLine("molino names", ("--encoding", "latin-1")))):
        [source] = sources.list_sources(write(tmp_path / "any.txt", '\n{"title": "ñ"}\n'.encode()), latin, command)
        assert (source.json, source.first_line) == (True, 1)
        assert read(list_files(source.path).files, latin)[1] == [("any.txt", 1, "empty_line")]
        assert source.format_of(latin).encoding == ("utf-8" if name == "ñ" else "latin-1")
    [source] = sources.list_sources(write(tmp_path / "f", b"{title}|b\na|b\n"), latin.__class__(columns={"b": "b"}))
    assert not source.json


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'[{"title":"a"}]', r"a list of JSON.* jq -c '.\[\]'"),
        (b'{\n "title": "a"\n}\n', "its lines hold no objects; write one a line: jq -c ."),
        (b'{"name":"a"}\n', "lacks the columns 'title', 'id': its schema has 'name'; name with"),
    ],
)
def test_what_is_no_json_lines_is_refused_with_a_remedy(tmp_path, data, told):
    with pytest.raises(DataError, match=told):
        sources.list_sources(write(tmp_path / "f", data), TEXT)


def test_a_column_that_may_lack_is_read_where_it_comes_late(tmp_path):
    text = sources.TextFormat(columns={"title": "title", "language": "language"}, optional=("language",))
    lines = [b'{"title":"a"}'] * 9000 + [b'{"title":"b","language":"es"}']
    rows, _ = read(write(tmp_path / "f", b"\n".join(lines)), text, 5000)
    assert rows[-1] == ("f", 9001, ("b", "es"))
    assert {values for _, _, values in rows[:-1]} == {("a", None)}
    assert pa.types.is_string(text.schema.field("language").type)
