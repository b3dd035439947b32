"""EXIF against what Pillow wrote, and with anything wrong in it."""

import datetime
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from molino.schemas.whales import EXIF
from molino.transforms.images.decode import read_header
from molino.transforms.images.exif import read_exif, read_orientation

NOTHING = dict.fromkeys([field.name for field in EXIF])
CLOCK = {0x9003: "2015:07:04 10:11:12", 0x9291: "25", 0x9011: "-03:30"}
PLACE = {1: "S", 2: (41.0, 30.0, 36.0), 3: "E", 4: (170.0, 0.5, 0.0), 5: b"\1", 6: 12.5}


def exif_of(first=(), clock=(), place=()):
    made = Image.Exif()
    made.update(first)
    made.get_ifd(0x8769).update(clock)
    made.get_ifd(0x8825).update(place)
    return made


def written(form="JPEG", **parts):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, form, exif=exif_of(**parts))
    return read_header(file.getvalue()).exif


FULL = written(first={0x10F: "Canon", 0x110: "Canon EOS 5D", 0x112: 6}, clock=CLOCK, place=PLACE)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_time_place_and_camera(form):
    tiff = written(form, first={0x10F: "DJI", 0x110: "FC6310"}, clock=CLOCK, place=PLACE)
    found = read_exif(tiff)
    assert found["taken"] == datetime.datetime(2015, 7, 4, 10, 11, 12, 250_000)
    assert (found["utc_offset"], found["camera"]) == (-210, "DJI FC6310")
    assert found["latitude"] == pytest.approx(-41.51)
    assert found["longitude"] == pytest.approx(170 + 0.5 / 60)
    assert found["altitude"] == -12.5
    assert found.keys() == NOTHING.keys()


def test_a_model_with_its_make_is_said_once():
    assert read_exif(FULL)["camera"] == "Canon EOS 5D"
    assert read_orientation(FULL) == 6


def test_both_byte_orders():
    def tiff(order, mark):
        entry = struct.pack(order + "HHII", 0x110, 2, 6, 26)
        return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4) + b"A6000\0"

    assert read_exif(tiff("<", b"II")) == read_exif(tiff(">", b"MM")) == NOTHING | {"camera": "A6000"}


@pytest.mark.parametrize(
    ("clock", "first", "expected"),
    [
        ({}, {0x132: "2014:01:02 03:04:05"}, datetime.datetime(2014, 1, 2, 3, 4, 5)),
        ({0x9004: "2013:01:02 03:04:05"}, {}, datetime.datetime(2013, 1, 2, 3, 4, 5)),
        ({0x9003: "0000:00:00 00:00:00"}, {}, None),
        ({0x9003: "2015:02:31 00:00:00"}, {}, None),
        ({0x9003: "    :  :     :  :  "}, {}, None),
        ({0x9003: "yesterday"}, {}, None),
    ],
)
def test_times(clock, first, expected):
    assert read_exif(written(clock=clock, first=first))["taken"] == expected


@pytest.mark.parametrize(
    "change",
    [{2: (IFDRational(0, 0),) * 3}, {1: "Q"}, {2: (91.0, 0.0, 0.0)}, {4: (181.0, 0.0, 0.0)}, {2: (41.0, 30.0)}],
)
def test_a_place_that_is_none_is_null(change):
    found = read_exif(written(place=PLACE | change))
    assert (found["latitude"], found["longitude"]) == (None, None)


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data):
    for tiff in (data, b"II*\0\x08\0\0\0" + data, b"MM\0*\0\0\0\x08" + data):
        assert read_exif(tiff).keys() == NOTHING.keys()


@given(st.integers(0, len(FULL)), st.integers(0, 255), st.integers(0, len(FULL) - 1))
def test_damaged_exif_is_survived(end, value, place):
    damaged = FULL[:place] + bytes([value]) + FULL[place + 1 :]
    assert read_exif(damaged[:end]).keys() == read_exif(damaged).keys() == NOTHING.keys()
