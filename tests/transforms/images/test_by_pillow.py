"""TIFF, WebP, BMP, AVIF and HEIC, against Pillow and OpenCV, and with everything wrong in them."""

import io
import struct
import tracemalloc
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from molino.transforms.images import decode as module
from molino.transforms.images import kinds
from molino.transforms.images.by_pillow import MOST_TAGS, SETTINGS
from molino.transforms.images.decode import ImageError, decode_image, read_header
from molino.transforms.images.exif import read_exif
from tests.transforms.images.sound import decode
from tests.transforms.images.test_decode import REASONS, reason, scene

try:
    import pillow_heif
except ImportError:
    pillow_heif = None
else:
    pillow_heif.register_heif_opener()
needs_heic = pytest.mark.skipif(pillow_heif is None, reason="pillow-heif is not installed: requirements/heic.txt")
PLAIN = Image.fromarray(scene())
CLEAR = Image.fromarray(np.dstack([scene(), np.repeat([[0] * 30 + [255] * 63], 61, 0).astype(np.uint8)]))


def saved(form, image=PLAIN, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


FILES = {
    "tiff": saved("TIFF"),
    "tiff lzw": saved("TIFF", compression="tiff_lzw"),
    "tiff deflate": saved("TIFF", compression="tiff_adobe_deflate"),
    "tiff jpeg": saved("TIFF", compression="jpeg"),
    "tiff zstd": saved("TIFF", compression="zstd"),
    "tiff lzma": saved("TIFF", compression="lzma"),
    "tiff zstd alpha": saved("TIFF", CLEAR, compression="zstd"),
    "tiff zstd gray": saved("TIFF", PLAIN.convert("L"), compression="zstd"),
    "tiff black": saved("TIFF", PLAIN.convert("1")),
    "tiff gray": saved("TIFF", PLAIN.convert("L")),
    "tiff palette": saved("TIFF", PLAIN.convert("P")),
    "tiff cmyk": saved("TIFF", PLAIN.convert("CMYK")),
    "tiff alpha": saved("TIFF", CLEAR),
    "tiff infrared": saved("TIFF", PLAIN.convert("RGBX")),
    "bigtiff": saved("TIFF", big_tiff=True),
    "webp": saved("WEBP"),
    "webp lossless": saved("WEBP", lossless=True),
    "webp alpha": saved("WEBP", CLEAR, lossless=True),
    "bmp": saved("BMP"),
    "bmp palette": saved("BMP", PLAIN.convert("P")),
    "avif": saved("AVIF"),
    "avif alpha": saved("AVIF", CLEAR),
}
if pillow_heif:
    FILES |= {"heif": saved("HEIF"), "heif alpha": saved("HEIF", CLEAR), "heif gray": saved("HEIF", PLAIN.convert("L"))}


def by_pillow_alone(data):
    """Return what Pillow makes of a file, as displayed and on white, blue first."""
    with Image.open(io.BytesIO(data)) as image:
        shown = ImageOps.exif_transpose(image)
        if shown.mode == "RGBA":
            shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
        return np.asarray(shown.convert("RGB"))[..., ::-1]


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_pillow(name):
    image, header = decode(FILES[name]), read_header(FILES[name])
    np.testing.assert_array_equal(image, by_pillow_alone(FILES[name]))
    assert header.shape == image.shape[:2] == (61, 93)
    assert header.format == name.split()[0].removeprefix("big")
    assert header.bits == (1 if name == "tiff black" else 8)
    modes = {"black": "gray", "gray": "gray", "cmyk": "cmyk", "alpha": "alpha"}
    assert header.mode == modes.get(name.split()[-1], "colour")
    assert image.flags.c_contiguous
    assert image.dtype == np.uint8
    assert not header.more


def test_of_sixteen_bits_the_upper_eight_count():
    for image in (scene().astype(np.uint16) * 257, scene(channels=1)[..., 0].astype(np.uint16) * 250):
        data = cv2.imencode(".tif", image)[1].tobytes()
        assert read_header(data).bits == 16
        np.testing.assert_array_equal(decode(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
        np.testing.assert_array_equal(decode(data)[..., 0], image.reshape(61, 93, -1)[..., 0] >> 8)
        packed = saved("TIFF", Image.fromarray(image), compression="zstd") if image.ndim == 2 else data
        np.testing.assert_array_equal(decode(packed), decode(data))


@pytest.mark.parametrize("form", ["TIFF", "WEBP", "AVIF", pytest.param("HEIF", marks=needs_heic)])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation_and_exif_of_every_format(form, orientation):
    made = Image.Exif()
    made.update({0x112: orientation, 0x110: "A6000", 0x132: "2015:07:04 10:11:12"})
    made.get_ifd(0x8825).update({1: "S", 2: (41.0, 30.0, 36.0), 3: "E", 4: (170.0, 0.5, 0.0)})
    data = saved(form, exif=made)
    header, image = read_header(data), decode(data)
    np.testing.assert_array_equal(image, by_pillow_alone(data))
    if form == "HEIF":  # a turn is a property of its own there, and that of EXIF does not count
        orientation = 1
    assert image.shape[:2] == header.shape == ((93, 61) if 5 <= orientation <= 8 else (61, 93))
    assert header.orientation == (orientation if 1 <= orientation <= 8 else 1)
    found = read_exif(header.exif)
    assert found["camera"] == "A6000"
    if form != "TIFF":  # Pillow writes no place there
        assert found["latitude"] == pytest.approx(-41.51)
    assert found["taken"].isoformat() == "2015-07-04T10:11:12"


@needs_heic
def test_a_photograph_of_a_phone_that_is_turned_is_turned_once():
    made, file = Image.Exif(), io.BytesIO()
    made.update({0x112: 6, 0x110: "iPhone 15"})
    heic = pillow_heif.from_pillow(PLAIN)
    heic.info["exif"] = made.tobytes()
    heic.save(file, quality=90)
    data = file.getvalue()
    assert b"irot" in data
    header = read_header(data)
    assert (header.shape, header.orientation, read_exif(header.exif)["camera"]) == ((93, 61), 1, "iPhone 15")
    np.testing.assert_array_equal(decode(data), by_pillow_alone(data))


def test_a_file_of_several_pictures_is_its_first_one():
    for form in ("TIFF", "WEBP", "AVIF"):
        data = saved(form, save_all=True, append_images=[PLAIN.rotate(180)])
        assert read_header(data).more
        assert np.abs(decode(data).astype(int) - decode(saved(form))).mean() < 3
    small = Image.fromarray(scene(30, 46))
    small.encoderinfo = {"tiffinfo": {254: 1}}  # an overview, as in a GeoTIFF
    assert not read_header(saved("TIFF", save_all=True, append_images=[small])).more


def test_what_is_no_colour_of_a_tiff_is_named():
    for mode in ("I", "F", "LAB"):
        data = saved("TIFF", PLAIN.convert("L").convert(mode) if mode != "LAB" else Image.new("LAB", (9, 9)))
        with pytest.raises(ImageError, match=f"unsupported: tiff of mode {mode}; save it with 8 or 16 bits"):
            read_header(data)


def test_raw_files_are_never_taken_for_their_previews():
    for tags, name in (({50706: b"\1\4\0\0"}, "DNG"), ({254: 1}, "NEF, ARW"), ({262: 32803}, "NEF, ARW")):
        with pytest.raises(ImageError, match=f"unsupported: raw .*{name}.*; save it as TIFF or JPEG"):
            read_header(saved("TIFF", tiffinfo=tags))


def test_heic_needs_a_package_that_the_error_names(monkeypatch):
    away = [kind._replace(opener="no_such_package:X") if kind.name == "heif" else kind for kind in kinds.KINDS]
    monkeypatch.setattr(kinds, "KINDS", away)
    with pytest.raises(ImageError, match=r"unsupported: heif; pip install -r requirements/heic.txt reads it"):
        read_header(b"\0\0\0\x18ftypheic" + bytes(100))


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_is_never_a_row(name, capfd):
    data = FILES[name]
    for end in sorted({len(data) * part // 20 for part in range(1, 20)} | {len(data) - 20, len(data) - 1}):
        try:
            image = decode(data[:end])
        except ImageError as error:
            assert error.reason in REASONS  # noqa: PT017
        else:  # what is missing is behind the pixels
            assert end > len(data) - 24
            np.testing.assert_array_equal(image, decode(data))
    assert capfd.readouterr() == ("", "")


def test_pixels_that_cannot_be_unpacked_are_damaged():
    for name in ("tiff lzma", "webp lossless"):
        data = FILES[name]
        assert reason(data[:200] + bytes(100) + data[300:]) == "damaged"


@pytest.mark.parametrize("name", FILES)
def test_limits_hold_before_anything_is_decoded(name, monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    monkeypatch.setattr(module, "decode_by_pillow", refuse)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert reason(FILES[name], max_pixels=61 * 93 - 1) == "too_many_pixels"
    assert read_header(FILES[name], max_pixels=61 * 93).shape == (61, 93)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_pillows_own_limits_and_settings_do_not_count(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for name in FILES:
        assert decode(FILES[name]).shape == (61, 93, 3)
        assert reason(FILES[name][: len(FILES[name]) // 2]) in REASONS
    assert [getattr(owner, setting) for owner, setting, _ in SETTINGS] == [10, True, False]


def test_tags_that_overlap_take_no_memory():
    bits = struct.pack("<HHII", 258, 3, 1 << 20, 8)  # a million numbers of bits a channel
    entries = [struct.pack("<HHII", tag, 7, 1 << 20, 8) for tag in range(1000, 9000)]
    bomb = b"II*\0\x08\0\0\0" + struct.pack("<H", 8001) + bits + b"".join(entries) + bytes(1 << 21)
    for read in (lambda: reason(bomb), lambda: read_exif(bomb)):
        tracemalloc.start()
        read()
        assert tracemalloc.get_traced_memory()[1] < 12 * MOST_TAGS
        tracemalloc.stop()
    found = read_exif(b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x110, 2, 60_000, 22) + b"A" * 60_000)
    assert len(found["camera"]) == 200


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FILES)), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4))
def test_changed_bytes_give_an_image_or_a_reason(capfd, name, changes):
    data = bytearray(FILES[name])
    for place, value in changes:
        data[place % min(len(data), 400 if place & 1 else 1 << 30)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            header = read_header(bytes(data), max_pixels=1_000_000)
            image, _ = decode_image(bytes(data), max_pixels=1_000_000)
        except ImageError as error:
            assert error.reason in REASONS  # noqa: PT017
        else:
            assert image.shape == (*header.shape, 3)
    assert capfd.readouterr() == ("", "")
