"""Images of every kind and every fault, against `cv2.imread`."""

import io
import pickle
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from molino.transforms.images import decode as module
from molino.transforms.images.decode import ImageError, decode, read_header

PHOTOGRAPHS = sorted((Path(__file__).resolve().parents[4] / "shared/data/whales").glob("*.jpg"))
REASONS = {"empty_file", "not_an_image", "unsupported", "bad_header", "too_many_pixels", "truncated", "damaged"}
SIGNED = {b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypheic"}


def scene(height=61, width=93, channels=3, seed=0):
    """Return smooth colours with an edge in them."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    image[height // 3 : height // 2, width // 4 : width // 2] = 17
    return image


def encode(image, form="JPEG", mode="RGB", orientation=None, **options):
    picture = Image.fromarray(image.squeeze()).convert(mode)
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x112] = orientation
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def imread(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def reason(data, **options):
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    return caught.value.reason


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


GOOD = {
    "jpeg": encode(scene(), quality=90),
    "progressive": encode(scene(), quality=90, progressive=True),
    "png": encode(scene(), "PNG"),
}
ORDINARY = {
    **GOOD,
    "444": encode(scene(), subsampling=0),
    "422": encode(scene(), subsampling=1),
    "rgb": encode(scene(), keep_rgb=True),
    "low quality": encode(scene(), quality=5),
    "restarts": encode(scene(), restart_marker_blocks=3),
    "gray jpeg": encode(scene(channels=1), mode="L"),
    "cmyk": encode(scene(), mode="CMYK"),
    "gray png": encode(scene(), "PNG", "L"),
    "black and white": encode(scene(), "PNG", "1"),
    "palette": encode(scene(), "PNG", "P"),
    "16 bits": cv2.imencode(".png", scene().astype(np.uint16) * 257 + 99)[1].tobytes(),
    "16 bits gray": cv2.imencode(".png", scene(channels=1).astype(np.uint16) * 250)[1].tobytes(),
    "one pixel": encode(scene(1, 1)),
    "thin": encode(scene(1, 200), "PNG"),
    "garbage behind": GOOD["jpeg"] + bytes(1000),
    "garbage between segments": GOOD["jpeg"][:20] + b"abc" + GOOD["jpeg"][20:],
}


@pytest.mark.parametrize("name", ORDINARY)
def test_pixels_are_those_of_imread(name):
    data, header = ORDINARY[name], read_header(ORDINARY[name])
    image = decode(data)
    np.testing.assert_array_equal(image, imread(data))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert header.shape == image.shape[:2] == (header.height, header.width)


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOGRAPHS, reason="no ../shared/data/whales")
def test_pixels_of_photographs_are_those_of_imread():
    for path in PHOTOGRAPHS:
        assert (decode(path.read_bytes()) == cv2.imread(str(path))).all(), path.name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jpeg", ("jpeg", "colour", 8)),
        ("rgb", ("jpeg", "colour", 8)),
        ("gray jpeg", ("jpeg", "gray", 8)),
        ("cmyk", ("jpeg", "cmyk", 8)),
        ("png", ("png", "colour", 8)),
        ("gray png", ("png", "gray", 8)),
        ("black and white", ("png", "gray", 1)),
        ("palette", ("png", "colour", 8)),
        ("16 bits", ("png", "colour", 16)),
    ],
)
def test_the_header_tells_what_is_stored(name, expected):
    header = read_header(ORDINARY[name])
    assert (header.format, header.mode, header.bits) == expected
    assert (header.width, header.height, header.orientation) == (93, 61, 1)


def test_gray_has_three_equal_channels():
    for name in ("gray jpeg", "gray png", "16 bits gray"):
        image = decode(ORDINARY[name])
        assert (image == image[..., :1]).all()


# --- orientation


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_applied_as_imread_does(form, orientation):
    data = encode(scene(), form, orientation=orientation)
    header = read_header(data)
    assert header.orientation == (orientation if 1 <= orientation <= 8 else 1)
    assert (header.width, header.height) == (93, 61)
    image = decode(data)
    np.testing.assert_array_equal(image, imread(data))
    assert image.shape[:2] == header.shape == ((93, 61) if 5 <= orientation <= 8 else (61, 93))
    assert image.flags.c_contiguous


def exif(value, *, order="<", kind=3, directory=8, magic=42, mark=b"Exif\0\0", before=0, cut=None):
    other = struct.pack(order + "HHI4s", 0x10F, 2, 1, b"a")
    entry = struct.pack(order + "HHI", 0x112, kind, 1) + struct.pack(
        order + ("HH" if kind == 3 else "I"), value, *[0][: kind == 3]
    )
    tiff = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", magic, directory) + bytes(directory - 8)
    body = (mark + tiff + struct.pack(order + "H", 1 + before) + other * before + entry + bytes(4))[:cut]
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


XMP = b"\xff\xe1\0\x21http://ns.adobe.com/xap/1.0/\0<x>"
SCAN = GOOD["jpeg"].index(b"\xff\xda")
ODD_EXIF = {
    "big endian": (2, exif(6, order=">")),
    "long": (2, exif(6, kind=4)),
    "long, big endian": (2, exif(6, order=">", kind=4)),
    "another directory": (2, exif(6, directory=20)),
    "not the first entry": (2, exif(6, before=3)),
    "another magic": (2, exif(6, magic=43)),
    "another mark": (2, exif(6, mark=b"abcdef")),
    "behind XMP": (2, XMP + exif(6)),
    "behind JFIF": (20, exif(6)),
    "before the scan": (SCAN, exif(6)),
    "two, the first counts": (2, exif(3) + exif(6)),
    "behind a broken one": (2, b"\xff\xe1\0\x0aExif\0\0zz" + exif(6)),
    "cut before the value": (2, exif(6, cut=-8)),
    "cut after the value": (2, exif(6, cut=-4)),
}


@pytest.mark.parametrize("name", ODD_EXIF)
def test_odd_exif_is_read_as_imread_does(name):
    place, segment = ODD_EXIF[name]
    data = GOOD["jpeg"][:place] + segment + GOOD["jpeg"][place:]
    np.testing.assert_array_equal(decode(data), imread(data))


# --- reduced


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB")])
def test_a_reduced_image_is_about_the_averaged_one(form, mode, scale):
    full = scene(320, 480)
    small = decode(encode(full, form, mode, quality=95), scale=scale)
    averaged = cv2.resize(
        decode(encode(full, form, mode, quality=95)), small.shape[1::-1], interpolation=cv2.INTER_AREA
    )
    assert small.shape == (320 // scale, 480 // scale, 3)
    assert np.abs(small.astype(int) - averaged).mean() < 2


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_sides_of_a_reduced_image_are_rounded_up(name, scale):
    height, width = decode(ORDINARY[name]).shape[:2]
    assert decode(ORDINARY[name], scale=scale).shape == (-(-height // scale), -(-width // scale), 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_image_is_turned_too(orientation):
    data = encode(scene(320, 480), orientation=orientation, quality=95)
    full, small = decode(data), decode(data, scale=4)
    assert small.shape == (full.shape[0] // 4, full.shape[1] // 4, 3)
    averaged = cv2.resize(full, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - averaged).mean() < 2


# --- transparency


def test_transparent_pixels_are_white_and_opaque_ones_those_of_imread():
    image = scene(channels=4)
    image[..., 3] = 255
    opaque = encode(image, "PNG", "RGBA")
    assert read_header(opaque).mode == "alpha"
    np.testing.assert_array_equal(decode(opaque), imread(opaque))
    image[:20, :, 3], image[20:30, :, 3] = 0, 128
    shown, plain = decode(encode(image, "PNG", "RGBA")), imread(opaque).astype(int)
    assert (shown[:20] == 255).all()
    assert np.abs(shown[20:30] - (plain[20:30] * 128 + 255 * 127) / 255).max() <= 0.5
    np.testing.assert_array_equal(shown[30:], plain[30:])


def test_other_kinds_of_transparency():
    gray = scene(channels=2)
    gray[:, :40, 1], gray[:, 40:, 1] = 0, 255
    file = io.BytesIO()
    Image.fromarray(gray, "LA").save(file, "PNG")
    shown = decode(file.getvalue())
    assert (shown[:, :40] == 255).all()
    assert (shown[:, 40:] == gray[:, 40:, :1]).all()
    wide = np.concatenate([scene(), np.full((61, 93, 1), 255, np.uint8)], axis=2).astype(np.uint16) * 257
    wide[:, :9, 3] = 0
    data = cv2.imencode(".png", wide)[1].tobytes()
    assert read_header(data).bits == 16
    assert (decode(data)[:, :9] == 255).all()
    np.testing.assert_array_equal(decode(data)[:, 9:], imread(data)[:, 9:])
    palette = encode(scene(), "PNG", "P", transparency=3)
    assert read_header(palette).mode == "alpha"
    unchanged = cv2.imdecode(np.frombuffer(palette, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (decode(palette)[unchanged[..., 3] == 0] == 255).all()
    turned = encode(np.dstack([scene(), np.full((61, 93), 255, np.uint8)]), "PNG", "RGBA", orientation=6)
    np.testing.assert_array_equal(decode(turned), imread(turned))


# --- what cannot be decoded


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("tenth", [*range(1, 10), "last two bytes", "last byte", "first four"])
def test_truncated(name, tenth, capfd):
    data = GOOD[name]
    end = {"last two bytes": -2, "last byte": -1, "first four": 4}.get(tenth)
    assert reason(data[: end or len(data) * tenth // 10]) == "truncated"
    assert capfd.readouterr().err == ""


def test_what_is_no_image():
    assert reason(b"") == "empty_file"
    assert reason(b"<!doctype html><title>Not found</title>") == "not_an_image"
    assert reason(b"\0" * 1000) == "not_an_image"
    assert reason(b"\xff\xd8") == reason(b"\x89PN") == "truncated"
    assert reason(encode(scene(), "GIF", "P")) == "unsupported"
    for start in SIGNED:
        assert reason(start + bytes(100)) == "unsupported"


def _frame(data, **fields):
    place, data = data.index(b"\xff\xc0"), bytearray(data)
    if "size" in fields:
        data[place + 5 : place + 9] = struct.pack(">HH", *fields["size"])
    if "marker" in fields:
        data[place + 1] = fields["marker"]
    if "bits" in fields:
        data[place + 4] = fields["bits"]
    if "channels" in fields:
        data[place + 9] = fields["channels"]
    return bytes(data)


def test_headers_that_lie_or_are_not_for_us(capfd):
    jpeg = GOOD["jpeg"]
    assert reason(_frame(jpeg, size=(60000, 60000))) == "too_many_pixels"
    assert reason(_frame(jpeg, size=(0, 93))) == reason(_frame(jpeg, size=(61, 0))) == "bad_header"
    assert reason(_frame(jpeg, size=(600, 900))) == "damaged"
    assert reason(_frame(jpeg, marker=0xC3)) == reason(_frame(jpeg, bits=12)) == "unsupported"
    assert reason(_frame(jpeg, channels=2)) == "unsupported"
    assert reason(jpeg[:2] + b"\xff\xe1\0\0" + jpeg[2:]) == "bad_header"
    assert reason(b"\xff\xd8" + jpeg[jpeg.index(b"\xff\xda") :]) == "bad_header"
    assert reason(png((b"IEND", b""))) == "bad_header"
    assert reason(png((b"IHDR", struct.pack(">IIBBBBB", 9, 9, 7, 2, 0, 0, 0)), (b"IEND", b""))) == "bad_header"
    assert reason(png((b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)), (b"IEND", b""))) == "damaged"
    changed = bytearray(GOOD["png"])
    changed[len(changed) // 2] ^= 1
    assert reason(bytes(changed)) == "damaged"
    assert capfd.readouterr().err == ""


def test_a_bomb_never_reaches_a_decoder(monkeypatch):
    rows = zlib.compress(bytes(1 + 2048) * 16384, 9)
    header = struct.pack(">IIBBBBB", 16384, 16384, 1, 0, 0, 0, 0)
    bomb = png((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    assert len(bomb) < 40_000
    assert read_header(bomb).shape == (16384, 16384)

    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    monkeypatch.setattr(module.simplejpeg, "decode_jpeg", refuse)
    assert reason(bomb) == "too_many_pixels"
    assert reason(GOOD["jpeg"], max_pixels=61 * 93 - 1) == "too_many_pixels"


def test_an_image_does_not_depend_on_those_before_it():
    other = encode(scene(seed=1), quality=90)
    before = decode(GOOD["jpeg"]), decode(other)
    for name in GOOD:
        decode(GOOD["jpeg"])
        assert reason(GOOD[name][: len(GOOD[name]) // 2]) == "truncated"
        np.testing.assert_array_equal(decode(other), before[1])
    np.testing.assert_array_equal(decode(GOOD["jpeg"]), before[0])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(ORDINARY)), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 7)), max_size=4))
def test_flipped_bits_give_an_image_or_a_reason(capfd, name, flips):
    data = bytearray(ORDINARY[name])
    for place, bit in flips:
        data[place % len(data)] ^= 1 << bit
    try:
        header = read_header(bytes(data))
        image = decode(bytes(data), max_pixels=1_000_000)
    except ImageError as error:
        assert error.reason in REASONS  # noqa: PT017
    else:
        assert image.shape == (*header.shape, 3)
    assert capfd.readouterr().err == ""


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]), st.binary(max_size=300))
def test_any_bytes_give_a_reason(start, rest):
    assert reason(start + rest)


def test_an_error_survives_the_way_from_a_worker():
    error = pickle.loads(pickle.dumps(ImageError("damaged", "why")))
    assert (str(error), error.reason, error.detail) == ("damaged: why", "damaged", "why")
