"""The cookbook of docs/whales.md: the folder of a biologist, of a phone and a drone, to boxes, crops and a CSV."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from molino.jobs import whales
from molino.jobs.run.recheck import verify
from molino.transforms.errors import DataError
from molino.transforms.whales.sample import draw_sea
from tests.docs.test_counters import undeclared

try:
    import pillow_heif
except ImportError:
    pillow_heif = None
else:
    pillow_heif.register_heif_opener()


def photograph(seed, form, size=(600, 400), orientation=1, camera=("Apple", "iPhone 15"), **options):
    """Return the bytes of a sea with a whale, with time, place and camera."""
    image = Image.fromarray(draw_sea(*size, np.random.default_rng(seed)).image[..., ::-1])
    exif = Image.Exif()
    exif.update({0x10F: camera[0], 0x110: camera[1], 0x112: orientation})
    exif.get_ifd(0x8769).update({0x9003: f"2026:07:{seed:02} 10:11:12", 0x9011: "-03:00"})
    exif.get_ifd(0x8825).update({1: "S", 2: (42.0, 30.0, 36.0), 3: "W", 4: (64.0, 15.0, 0.0), 6: IFDRational(805, 10)})
    file = io.BytesIO()
    image.save(file, form, exif=exif, **options)
    return file.getvalue()


def fill(folder):
    """Write the folder; return the keys of photographs, of rejects and of what is left alone, HEIC apart."""
    dji = photograph(3, "JPEG", (1600, 1200), camera=("DJI", "FC3582"), quality=95)
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x drone-dji:RelativeAltitude='+80.5'/>"
    photographs = {
        "phone/IMG_0001.JPG": photograph(1, "JPEG", orientation=6, quality=90),
        "phone/IMG_0002 (1).jpeg": photograph(2, "JPEG", quality=90),
        "drone/DJI_0003.JPG": dji[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + dji[2:],
        "Península Valdés/ballena ñ.png": photograph(4, "PNG"),
        "old/scan #5.tif": photograph(5, "TIFF", compression="tiff_lzw"),
        "old/web.webp": photograph(6, "WEBP", quality=90),
        "flight[1]/a & b.bmp": photograph(7, "BMP"),
    }
    heic = {"phone/IMG_0008.HEIC": photograph(8, "HEIF", quality=80)} if pillow_heif else {}
    rejects = {"drone/DJI_0004.DNG": b"II*\0\x08\0\0\0\1\0\x12\xc6\1\0\4\0\0\0\1\4\0\0" + bytes(4)}
    left = ("phone/IMG_0001.MOV", "phone/IMG_0001.AAE", "phone/Thumbs.db", "drone/DJI_0003.SRT", "drone/DJI_0003.LRF")
    left += ("drone/DJI_0003.DNG", "notes.txt", "desktop.ini", "track.kml", "phone/.DS_Store")
    for name, data in {**photographs, **heic, **rejects, **dict.fromkeys(left, b"\0" * 64)}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return {*photographs, *heic}, set(rejects), set(left)


@pytest.mark.slow
def test_a_folder_as_people_have_it_to_crops_and_a_csv(tmp_path, capfd):
    folder, out = tmp_path / "survey", tmp_path / "out"
    photographs, rejects, left = fill(folder)
    command = ["--quiet", "--workers", "1", "--input", str(folder), "--output", str(out), "--max-reject-ratio", "0.2"]
    assert whales.JOB.main([*command, "--method", "saliency", "--write-crops"]) == 0
    manifest, wrong = verify(str(out))
    assert (wrong, undeclared(manifest)) == ([], set())
    counters = manifest["counters"]
    assert counters["skipped.no_photograph"] + counters["skipped.raw"] + counters["skipped.hidden"] == len(left)
    with open(out / "boxes.csv", encoding="utf-8", newline="") as file:
        lines = {line["key"]: line for line in csv.DictReader(file)}
    assert lines.keys() == photographs | rejects
    assert {key for key, line in lines.items() if line["status"] == "found"} == photographs
    for key in photographs - {"flight[1]/a & b.bmp", "old/scan #5.tif"}:  # Pillow writes none, or no place, there
        line = lines[key]
        assert (float(line["latitude"]), float(line["longitude"])) == pytest.approx((-42.51, -64.25))
        assert (float(line["altitude"]), line["utc_offset"]) == (80.5, "-180")
        assert re.fullmatch(r"2026-07-0\d 10:11:12", line["taken"])
    assert lines["drone/DJI_0003.JPG"]["camera"] == "DJI FC3582"
    assert [lines["phone/IMG_0001.JPG"][side] for side in ("width", "height")] == ["400", "600"]
    crops = {path.relative_to(out / "crops").as_posix() for path in (out / "crops").rglob("*.*")}
    assert len(crops) == len(photographs)
    assert {f"crops/{crop}" for crop in crops} == {lines[key]["crop_file"] for key in photographs}
    assert lines["phone/IMG_0001.JPG"]["crop_file"] == "crops/phone/IMG_0001.JPG"
    told = json.loads((out / "megadetector.json").read_text())["images"]
    assert {image["datetime"] for image in told if "datetime" in image} >= {
        "2026:07:01 10:11:12",
        "2026:07:03 10:11:12",
    }
    said = capfd.readouterr()
    page = Path(__file__).resolve().parents[2].joinpath("docs/whales.md").read_text()
    summary, table = re.findall(r"```text\n((?:molino: warn|key,status).*?)```", page, re.DOTALL)
    shown = list(csv.DictReader(io.StringIO(table)))
    assert len(shown) == 5
    for line in shown[: None if pillow_heif else 4]:
        real = lines[line["key"]]
        real["presence"] = real["presence"] and f"{float(real['presence']):.3f}"
        assert line == {name: real[name] for name in line}
    for line in summary.splitlines()[: None if pillow_heif else 3]:
        assert line.replace(" survey/", f" {folder}/") in (said.err + said.out).splitlines()


def test_a_folder_with_brackets_is_found_by_its_name_and_by_a_glob_that_writes_them(tmp_path):
    (tmp_path / "flight[1]").mkdir()
    (tmp_path / "flight[1]/a.jpg").write_bytes(b"x")

    def found(path):
        given = whales.parser().parse_args(["--input", f"{tmp_path}/{path}", "--output", "out"])
        return [file.path for listing in whales.list_inputs(given) for file in listing.files]

    assert (
        found("flight[1]")
        == found("flight[[]1[]]/*.jpg")
        == found("flight[[]1]/*.jpg")
        == [f"{tmp_path}/flight[1]/a.jpg"]
    )
    with pytest.raises(DataError, match=r"no file matches .*; a \[ in a name is written \[\[\]; check --input"):
        found("flight[1]/*.jpg")
