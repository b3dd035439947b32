"""Names for pictures of images: safe, inside their folder, and never shared."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from molino.transforms.images.name_images import CROP, KINDS, file_name, folding

PARTS = st.text(
    st.sampled_from("ab./-<>\\\n\u202eÑ") | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8
)


@pytest.mark.parametrize("key", ["w_7489.jpg", "2015/w 1.jpg", "b/[1] (copy).jpg"])
def test_a_plain_key_is_its_own_name(key):
    assert file_name(key, "extract") == f"images/{key}.extract.jpg"


@pytest.mark.parametrize(
    "key",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a//b",
        ".",
        "..",
        "~/.ssh/id",
        "con.jpg",
        "a/nul",
        "<script>.jpg",
        "two\nlines",
        "back\\slash",
        "s.tar!../../up.jpg",
        "a" * 300,
        "a/" * 900 + "b",
        "\u202egpj.exe",
        "ñ.jpg",
    ],
)
def test_a_bad_key_has_a_good_name(key):
    name = file_name(key, "mask")
    assert re.search(r"-[0-9a-f]{16}\.mask\.jpg$", name)
    assert name.startswith("images/")
    for part in name.split("/"):
        assert part not in ("", ".", "..")
        assert not part.startswith(".")
        assert len(part.encode()) < 255
        assert part.isascii()
        assert part.isprintable()
        assert not set(part) & set('<>:"\\|?*')
    assert len(name.encode()) < 2000


@given(st.sets(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=8))
@example({"<x>", "_x_", file_name("<x>", "mask")[len("images/") : -len(".mask.jpg")]})
@example({"a.jpg", "a.jpg.mask.jpg/b", "a.jpg.mask.jpg"})
@example({"a", "a.", "a. ", "A"})
@example({"w.jpg", "W.jpg", file_name("W.jpg", CROP, folds=True)[len("crops/") :]})
@example({"w.png", "w.png.jpg", "w.png.JPG/w", "W.PNG/w.jpg"})
def test_no_two_pictures_share_a_name_and_none_is_the_folder_of_another(keys):
    folds = folding(list(keys))
    names = [
        file_name(key, kind, folds=fold).lower()
        for key, fold in zip(keys, folds, strict=True)
        for kind in (CROP, *KINDS)
    ]
    assert len(set(names)) == len(names)
    folders = {name[:i] for name in names for i, c in enumerate(name) if c == "/"}
    assert not folders & set(names)
