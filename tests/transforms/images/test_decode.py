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
from molino.transforms.images.decode import ImageError, decode_image, read_header
from tests.transforms.images.sound import decode

PHOTOGRAPHS = sorted((Path(__file__).resolve().parents[4] / "shared/data/whales").glob("*.jpg"))
REASONS = {"empty_file", "not_an_image", "unsupported", "bad_header", "too_many_pixels", "truncated", "damaged"}
SIGNED = {b"GIF89a", b"8BPS", b"IIU\0", b"\xff\x4f\xff\x51"}


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


# --- what is odd, and what is damage


def segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def codes(table):
    """Return the code of each symbol of a Huffman table as it stands in a file: (value, bits)."""
    found, code, place = {}, 0, 16
    for bits, count in enumerate(table[:16], 1):
        for symbol in table[place : place + count]:
            found[symbol] = (code, bits)
            code += 1
        code, place = code << 1, place + count
    return found


def of_flat_blocks(sampling, width=93, height=61):
    """Return a JPEG with odd sampling factors whose 8 by 8 blocks are of one colour each."""
    data, tables, quantized = GOOD["jpeg"], {}, b""
    for marker, start, end in module.jpeg_segments(data):
        if marker == 0xC4:
            tables[data[start]] = data[start + 1 : end]
        elif marker == 0xDB:
            quantized = quantized or segment(0xDB, data[start : start + 65])
    lengths, (end_code, end_bits) = codes(tables[0]), codes(tables[16])[0]
    across, down = (max(factors[i] for factors in sampling) * 8 for i in (0, 1))
    bits, rng = "", np.random.default_rng(0)
    for _ in range(-(-width // across) * -(-height // down) * sum(h * v for h, v in sampling)):
        step = int(rng.integers(-7, 8))
        size = abs(step).bit_length()
        code, length = lengths[size]
        bits += f"{code:0{length}b}" + (f"{step if step > 0 else step + (1 << size) - 1:0{size}b}" if size else "")
        bits += f"{end_code:0{end_bits}b}"
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BHHB", 8, height, width, 3)
    frame += b"".join(bytes([i, h << 4 | v, 0]) for i, (h, v) in enumerate(sampling, 1))
    parts = [
        quantized,
        segment(0xC0, frame),
        *(segment(0xC4, bytes([k]) + t) for k, t in tables.items() if k in (0, 16)),
    ]
    return b"\xff\xd8" + b"".join(parts) + segment(0xDA, b"\3\1\0\2\0\3\0\0\x3f\0") + scan + b"\xff\xd9"


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("sampling", ["42 11 11", "32 11 11", "22 22 11", "31 11 11", "13 11 11", "21 12 11"])
def test_any_sampling_of_colours_is_read(sampling, scale):
    data = of_flat_blocks([tuple(map(int, pair)) for pair in sampling.split()])
    expected = imread(data)
    assert expected is not None
    image, told = decode_image(data, scale=scale)
    assert told == ""
    assert image.shape == (-(-61 // scale), -(-93 // scale), 3)
    if scale == 1:
        np.testing.assert_array_equal(image, expected)
    hole = data.index(b"\xff\xda") + 40
    assert reason(data[:hole] + bytes(len(data) - hole - 22) + data[-22:]) == "damaged"


def odd_headers(data):
    """Return a JPEG as odd encoders write its headers: all have the same pixels."""
    scan, jfif = data.index(b"\xff\xda"), data.index(b"JFIF\0")
    range_ = scan + 2 + struct.unpack(">H", data[scan + 2 : scan + 4])[0] - 3
    adobe = segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 7))
    revision = data[:jfif] + b"JFIF\0\7\7" + data[jfif + 7 : scan]
    return {
        "range of the scan": data[:range_] + b"\0\0\0" + data[range_ + 3 :],
        "JFIF revision": data[: jfif + 5] + b"\0\2" + data[jfif + 7 :],
        "Adobe transform": data[:2] + adobe + data[20:],
        "all": revision + b"junk" + adobe + data[scan:range_] + b"\0\0\1" + data[range_ + 3 :],
        "bytes before the end": data[:-2] + b"\x12\x34\x56\x78" * 8 + data[-2:],
        "a zero before the end": data[:-2] + b"\0" + data[-2:],
    }


@pytest.mark.parametrize("name", odd_headers(GOOD["jpeg"]))
@pytest.mark.parametrize("kind", ["jpeg", "restarts"])
def test_what_is_odd_and_changes_no_pixel_is_no_damage(kind, name, capfd):
    data = odd_headers(ORDINARY[kind])[name]
    np.testing.assert_array_equal(decode(data), imread(ORDINARY[kind]))
    assert decode_image(data, scale=4)[1] == ""


def test_damage_is_told_behind_an_odd_header_too(capfd):
    noise = np.random.default_rng(0).integers(0, 256, (160, 240, 3)).astype(np.uint8)
    for how in ({}, {"restart_marker_rows": 1}, {"progressive": True}, {"mode": "CMYK"}):
        data = encode(noise, quality=90, **how)
        middle = len(data) // 2
        lost = data[:middle] + bytes(512) + data[middle + 512 :]
        files = [lost, *(odd_headers(lost).values() if how == {} else ())]
        for file in files:
            for scale in (1, 4):
                image, told = decode_image(file, scale=scale)
                assert "Corrupt JPEG data" in told
                assert image.shape == (160 // scale, 240 // scale, 3)
            assert reason(file) == "damaged"
    assert capfd.readouterr().err == ""


def test_a_hole_at_the_end_of_the_scan_is_no_padding():
    data = encode(np.random.default_rng(0).integers(0, 256, (160, 240, 3)).astype(np.uint8), quality=90)
    for size in (200, 1000, 3000):
        assert reason(data[: -2 - size] + bytes(size) + data[-2:]) == "damaged"
    rest = data[:-2] + data[-700:-2] + data[-2:]  # what is left over looks like a scan
    assert reason(rest) == "damaged"


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


@pytest.mark.parametrize(
    ("start", "expected", "name"),
    [
        (b"\0\0\0\x20ftypisom", "not_an_image", "video"),
        (b"\0\0\0\x14ftypqt  ", "not_an_image", "video"),
        (b"\0\0\0\x1cftyp3gp5", "not_an_image", "video"),
        (b"RIFF\x88\x13\0\0AVI LIST", "not_an_image", "AVI"),
        (b"\x1a\x45\xdf\xa3", "not_an_image", "Matroska"),
        (b"\0\0\0\x18ftypcrx ", "unsupported", "CR3"),
        (b"II*\0\x10\0\0\0CR\2\0", "unsupported", "CR2"),
        (b"8BPS\0\1", "unsupported", "PSD"),
        (b"\0\0\0\x0cjP  ", "unsupported", "JPEG 2000; save it as"),
        (b"\0\0\0\x0cJXL ", "unsupported", "JPEG XL"),
        (b"GIF89a", "unsupported", "GIF"),
        (b'<?xml version="1.0"?>\n<svg xmlns', "unsupported", "SVG"),
        (b"%PDF-1.7", "not_an_image", "PDF"),
        (b"PK\3\4", "not_an_image", "packed file; unpack it"),
        (b"ID3\4", "not_an_image", "sound"),
        (b"\xd0\xcf\x11\xe0", "not_an_image", "Thumbs.db"),
    ],
)
def test_what_is_not_read_has_its_right_name(start, expected, name):
    with pytest.raises(ImageError) as caught:
        read_header(start + bytes(100))
    assert caught.value.reason == expected
    assert name in caught.value.detail


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
