"""The whales job from its command line, against the method called directly and against the published program."""

import csv
import datetime
import io
import json
import os
import pathlib
import re
import shutil
import tarfile
import urllib.parse

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from molino.jobs import whales
from molino.jobs.run.recheck import verify
from molino.schemas.whales import REGIONS
from molino.transforms.errors import DataError
from molino.transforms.images import list_images
from molino.transforms.images.encode import encode_jpeg
from molino.transforms.images.name_images import file_name
from molino.transforms.whales.crop import crop_square
from molino.transforms.whales.find_region import OriginalOptions, find_region_original
from molino.transforms.whales.sample import PLAIN, draw_sea, sample_whales
from tests.docs.test_counters import undeclared
from tests.faults.fault_harness import assert_complete

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared/data/whales"
needs_shared = pytest.mark.skipif(
    not (SHARED / "original_boxes.json").exists(), reason="the real photographs and the published files are not here"
)

SMALL = ["--kernel", 9, "--smallest", 6]  # parameters under which something is found in small images


def run(*arguments, workers=1):
    """Run the job in this process, on one worker: faster to start than two for a few images."""
    return whales.JOB.main(["--quiet", "--workers", str(workers), *map(str, arguments)])


def manifest_of(output):
    return json.loads((output / "_manifest.json").read_text())


def rows(output, dataset="regions"):
    """Read a data set as its manifest lists it."""
    parts = [pq.read_table(output / file["path"]) for file in manifest_of(output)["datasets"][dataset]["files"]]
    return pa.concat_tables(parts).to_pylist() if parts else []


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    """Twelve small images and the hostile ones; return the folder, and names by what must become of them."""
    folder = tmp_path_factory.mktemp("sea")
    wrote = sample_whales(str(folder), images=PLAIN + 2, width=360, height=240, hostile=True)
    return pathlib.Path(wrote["folder"]), wrote["hostile"]


@pytest.fixture(scope="module")
def output(sea, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    arguments = ["--crop-size", 32, "--mask", "png", "--write-images", "--max-reject-ratio", 1, *SMALL]
    assert run("--input", sea[0], "--output", out, *arguments) == 0
    return out


def test_every_row_is_what_the_method_finds(sea, output):
    parameters = OriginalOptions(kernel=9, smallest=6)
    found = 0
    for row in rows(output):
        name = row["key"].replace("latin-1 \\xf1", "latin-1 \udcf1")
        path = sea[0] / name if (sea[0] / name).exists() else sea[0] / name.replace("ñ", "n\u0303")
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        region = find_region_original(image, parameters)
        box = (row["x"], row["y"], row["box_width"], row["box_height"])
        assert (row["height"], row["width"]) == image.shape[:2]
        assert box == (region.box or (None,) * 4), row["key"]
        assert (row["regions"], row["white_pixels"]) == (region.regions, region.white_pixels)
        assert np.array_equal(cv2.imdecode(np.frombuffer(row["mask"], np.uint8), 0), region.mask.pixels())
        if region.box is None:
            assert row["status"] != "found"
            assert (row["share"], row["score"], row["crop"], row["pixels"]) == (None,) * 4
            continue
        found += 1
        x, y, width, height = box
        part = image[y : y + height, x : x + width]
        assert row["share"] == width * height / (image.shape[0] * image.shape[1])
        decoded = cv2.imdecode(np.frombuffer(row["crop"], np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == part.shape
        assert np.abs(decoded.astype(int) - part).mean() < 12
        assert row["pixels"] == crop_square(image, box, 32).tobytes()
    assert found >= 8


def test_rejects_are_those_that_were_made_to_be(sea, output):
    rejects = rows(output, "rejects")
    expected = [(f"hostile/{name}", fate) for fate, names in sea[1].items() for name in names]
    assert sorted((row["source"], row["reason"]) for row in rejects) == sorted(
        (name, fate) for name, fate in expected if fate not in ("row", "skipped")
    )
    assert [row["source"] for row in rejects] == sorted(row["source"] for row in rejects)
    assert all(row["row"] and row["line"] == 0 for row in rejects)


def test_everything_is_counted(sea, output):
    manifest, wrong = verify(str(output))
    assert wrong == []
    assert undeclared(manifest) == set()
    counters = manifest["counters"]
    names = [name for names in sea[1].values() for name in names]
    assert counters["images_read"] == PLAIN + 2 + len(names) - len(sea[1]["skipped"])
    assert counters["images_read"] == counters["regions"] + counters["rejects"]
    assert counters["regions"] == sum(n for name, n in counters.items() if name.startswith("status."))
    assert counters["rejects"] == sum(n for name, n in counters.items() if name.startswith("rejects."))
    assert counters["duplicates"] == len(sea[1]["row"]) - 4 - 1  # the good ones with odd names are one image
    assert (counters["skipped.link"], counters["skipped.special"]) == (1, 1)
    assert {w["kind"]: w["count"] for w in manifest["warnings"]} == {
        "skipped.link": 1,
        "skipped.no_photograph": 2,
        "skipped.special": 1,
    }
    [listed] = manifest["inputs"]
    assert (listed["path"], listed["files"]) == (
        str(sea[0]),
        counters["images_read"] + counters["skipped.no_photograph"],
    )


def test_orientation_and_keys(sea, output):
    by_key = {row["key"]: row for row in rows(output)}
    turned = by_key["hostile/turned.jpg"]
    assert (turned["orientation"], turned["rotation"], turned["mirrored"]) == (6, 90, False)
    assert (turned["width"], turned["height"]) == (320, 480)
    assert by_key["hostile/a/w.jpg"]["sha256"] == by_key["hostile/b/W.JPG"]["sha256"]
    assert by_key["hostile/really a png.jpg"]["format"] == "png"
    assert "hostile/latin-1 \\xf1.jpg" in by_key
    assert {"hostile/ñ.jpg", "hostile/n\u0303.jpg", "hostile/two\nlines\x1b[31m.jpg"} <= by_key.keys()
    statuses = {key: row["status"] for key, row in by_key.items()}
    assert statuses["hostile/one colour.png"] == "one_colour"
    assert statuses["hostile/one pixel.png"] == "too_small"


def test_the_pictures_of_the_published_program(output):
    views = {view["path"] for view in manifest_of(output)["views"] if "unit" not in view or view["path"][0] != "_"}
    found = [row["key"] for row in rows(output) if row["x"] is not None]
    assert len(views) == 4 * len(found) + 4  # the boxes, the report and the card
    assert {
        f"images/{key}.{kind}.jpg" for key in found if key.startswith("w_") for kind in ("extract", "areas")
    } <= views
    row = next(row for row in rows(output) if row["key"] == "w_00000.jpg")
    extract = cv2.imread(str(output / "images/w_00000.jpg.extract.jpg"))
    assert extract.shape[:2] == (row["box_height"], row["box_width"])


def test_the_files_say_what_they_are(output):
    manifest = manifest_of(output)
    file = pq.ParquetFile(output / manifest["datasets"]["regions"]["files"][0]["path"])
    assert file.schema_arrow.names == [*REGIONS.names, "pixels"]
    pixels = file.schema_arrow.field("pixels")
    assert pixels.type == pa.binary(32 * 32 * 3)
    assert (pixels.metadata[b"dtype"], pixels.metadata[b"shape"]) == (b"uint8", b"[32, 32, 3]")
    assert all(field.metadata[b"doc"] for field in file.schema_arrow)
    assert file.schema_arrow.metadata[b"molino.schema"] == b"whales.regions"
    assert all(row["decode_ms"] is row["find_ms"] is row["mask_runs"] is None for row in rows(output))


def shard_tar(images, path):
    with tarfile.open(path, "w") as tar:
        for image in images:
            info = tarfile.TarInfo(image.name)
            info.size = image.stat().st_size
            tar.addfile(info, io.BytesIO(image.read_bytes()))


def shard_parquet(images, path):
    table = {"file": [image.name for image in images], "jpeg": [image.read_bytes() for image in images]}
    pq.write_table(pa.table(table), path, row_group_size=2)


def test_shards_give_the_rows_of_the_files(sea, tmp_path):
    images = sorted(sea[0].glob("w_*.jpg"))[:5]
    (tmp_path / "files").mkdir()
    for image in images:
        shutil.copy(image, tmp_path / "files")
    shard_tar(images, tmp_path / "s.tar")
    shard_parquet(images, tmp_path / "s.parquet")
    same = {}
    for name in ("files", "s.tar", "s.parquet"):
        columns = ["--name-column", "file", "--bytes-column", "jpeg"]
        assert run("--input", tmp_path / name, "--output", tmp_path / f"out-{name}", *columns, *SMALL) == 0
        same[name] = [row | {"key": row["key"].split("!")[-1]} for row in rows(tmp_path / f"out-{name}")]
    assert same["files"] == same["s.tar"] == same["s.parquet"]
    assert rows(tmp_path / "out-s.tar")[0]["key"] == "s.tar!w_00000.jpg"


@pytest.mark.parametrize("method", whales.METHODS)
def test_crops_and_boxes_are_files_for_other_tools(method, sea, tmp_path):
    folder = tmp_path / "in"
    (folder / "a").mkdir(parents=True)
    first, second, *_ = sorted(sea[0].glob("w_*.jpg"))
    for image, name in ((first, "w.jpg"), (second, "W.jpg"), (first, "a/v.JPG"), (second, "ñ.jpg")):
        shutil.copy(image, folder / name)
    assert cv2.imwrite(str(folder / "a/v.png"), cv2.imread(str(second)))
    (folder / "bad.jpg").write_bytes(b"none")
    how = ["--method", method, "--write-crops", "--max-reject-ratio", 1, *(SMALL if method != "saliency" else [])]
    for workers in (1, 2):
        out = tmp_path / str(workers)
        assert run("--input", folder, "--output", out, *how, workers=workers) == 0
        assert verify(str(out))[1] == []
        views = {view["path"]: view["sha256"] for view in manifest_of(out)["views"] if "." in view["path"]}
        views = {
            path: sha for path, sha in views.items() if path[0] != "_" and path not in ("README.md", "report.html")
        }
        if workers == 1:
            expected = views
        assert views == expected
    crops = {f"crops/{name}" for name in ("a/v.JPG", "a/v.png.jpg")}
    crops |= {f"crops/{file_name(name, 'crop', folds=True)[6:]}" for name in ("w.jpg", "W.jpg", "ñ.jpg")}
    assert expected.keys() == crops | {"boxes.csv", "megadetector.json"}
    found = {row["key"]: row for row in rows(out)}
    assert (out / "crops/a/v.JPG").read_bytes() == found["a/v.JPG"]["crop"]
    links = re.findall(r'<a href="([^"]*)">(?:photograph|crop)<', (out / "report.html").read_text())
    assert {(out / urllib.parse.unquote(link).removeprefix("file://")).resolve() for link in links} == {
        *(folder / key for key in found),
        *(out / crop for crop in crops),
    }
    lines = list(csv.DictReader(io.StringIO((out / "boxes.csv").read_text())))
    assert [line["key"] for line in lines] == ["W.jpg", "a/v.JPG", "a/v.png", "bad.jpg", "w.jpg", "ñ.jpg"]
    told = json.loads((out / "megadetector.json").read_text())
    assert told["info"]["format_version"] == "1.6"
    assert told["detection_categories"] == {"1": "animal"}
    for line, image in zip(lines, told["images"], strict=True):
        assert image["file"] == line["key"]
        if line["key"] == "bad.jpg":
            assert (image["detections"], line["status"], line["x"]) == (None, "not_an_image", "")
            assert image["failure"].startswith("not_an_image: ")
            continue
        row = found[line["key"]]
        box = [int(line[name]) for name in ("x", "y", "box_width", "box_height")]
        assert box == [row["x"], row["y"], row["box_width"], row["box_height"]]
        [detection] = image["detections"]
        assert (detection["conf"], float(line["presence"])) == (row["presence"], row["presence"])
        assert np.allclose(np.multiply(detection["bbox"], (row["width"], row["height"]) * 2), box, atol=1e-3)


def test_a_webdataset_is_read_without_a_warning(sea, tmp_path, capsys):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for number, image in enumerate(sorted(sea[0].glob("w_*.jpg"))[:3]):
            for ending, data in {"jpg": image.read_bytes(), "txt": b"a whale", "json": b"{}"}.items():
                info = tarfile.TarInfo(f"{number}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    arguments = ["--include", "*.jpg", "--keep", "txt=caption", "--strict", *SMALL]
    assert run("--input", tmp_path, "--output", tmp_path.parent / "dataset", *arguments) == 0
    assert [row["caption"] for row in rows(tmp_path.parent / "dataset")] == ["a whale"] * 3
    assert manifest_of(tmp_path.parent / "dataset")["counters"]["skipped.not_included"] == 3
    assert "3; --include left out 3" in capsys.readouterr().out
    given = whales.parser().parse_args(["--input", str(tmp_path), "--output", "out", "--include", "*.jpeg"])
    with pytest.raises(DataError, match=r"--include leaves out 9, such as 0\.tar!0\.jpg; check the paths"):
        whales.plan(given, whales.list_inputs(given))


def test_options_change_what_they_say(sea, tmp_path):
    arguments = ["--mask", "rle", "--crop-quality", 0, "--timings", "--report-images", 3, "--max-reject-ratio", 1]
    assert run("--input", sea[0] / "w_*.jpg", "--output", tmp_path / "out", *arguments, *SMALL) == 0
    for row in rows(tmp_path / "out"):
        assert row["crop"] is row["mask"] is None
        assert sum(row["mask_runs"]) == row["width"] * row["height"]
        assert row["decode_ms"] > 0
        assert row["find_ms"] > 0
        assert json.loads(row["parameters"]) == {"bins": 16, "kernel": 9, "smallest": 6, "threshold": 0.25}
    assert (tmp_path / "out/report.html").read_text().count('loading="lazy"') == 3
    limits = ["--max-pixels", 1000, "--output", tmp_path / "few", "--max-reject-ratio", 1]
    assert run("--input", sea[0] / "w_*.jpg", *limits) == 0
    assert {row["reason"] for row in rows(tmp_path / "few", "rejects")} == {"too_many_pixels"}
    assert manifest_of(tmp_path / "few")["datasets"]["regions"]["files"] == []


def test_fast_is_near_the_original(tmp_path):
    sample_whales(str(tmp_path), images=4, width=1500, height=1000)
    for method in ("original", "fast"):
        assert run("--input", tmp_path / "images", "--output", tmp_path / method, "--method", method) == 0
    for exact, near in zip(rows(tmp_path / "original"), rows(tmp_path / "fast"), strict=True):
        assert near["method"] == "fast"
        assert exact["sha256"] == near["sha256"]
        assert abs(exact["share"] - near["share"]) < 0.05


def test_saliency_finds_the_heads(tmp_path):
    sample_whales(str(tmp_path), images=PLAIN, width=900, height=600)
    assert (
        run("--input", tmp_path / "images", "--output", tmp_path / "out", "--method", "saliency", "--share", 0.2) == 0
    )
    truth = {row["key"]: row for row in pq.read_table(tmp_path / "truth.parquet").to_pylist()}
    hits = 0
    for row in rows(tmp_path / "out"):
        assert (row["method"], row["status"]) == ("saliency", "found")
        assert abs(row["share"] - 0.2) < 0.02
        head = truth[row["key"]]
        if head["head_x"] is not None:
            x, y = head["head_x"] + head["head_width"] / 2, head["head_y"] + head["head_height"] / 2
            hits += row["x"] <= x < row["x"] + row["box_width"] and row["y"] <= y < row["y"] + row["box_height"]
    assert hits >= 6


@pytest.mark.slow
@pytest.mark.parametrize("method", whales.METHODS)
def test_every_row_has_a_presence_and_the_report_follows_it(method, tmp_path):
    sample_whales(str(tmp_path), images=PLAIN, width=900, height=600)
    assert run("--input", tmp_path / "images", "--output", tmp_path / "out", "--method", method) == 0
    found = {row["key"]: row["presence"] for row in rows(tmp_path / "out")}
    truth = {row["key"]: row["x"] is not None for row in pq.read_table(tmp_path / "truth.parquet").to_pylist()}
    assert all(0 <= presence <= 1 for presence in found.values())
    assert min(found, key=lambda key: found[key]) == next(key for key, whale in truth.items() if not whale)
    assert manifest_of(tmp_path / "out")["counters"]["present"] == sum(p >= 0.5 for p in found.values())
    page = (tmp_path / "out/report.html").read_text()
    assert sorted(found, key=lambda key: (-found[key], key)) == re.findall(r'alt="(w_\d+.jpg)"', page)


def test_odd_and_damaged_files_of_a_card(tmp_path, capsys):
    good = encode_jpeg(np.random.default_rng(0).integers(0, 256, (100, 150, 3)).astype(np.uint8), quality=90)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("Thumbs.db", "DJI_1.DNG", "DJI_1.SRT", "clip.mp4"):
        (folder / name).write_bytes(b"no photograph")
    (folder / "DJI_1.JPG").write_bytes(good)
    (folder / "DJI_2.JPG").write_bytes(good[:2000] + bytes(300) + good[2300:])
    (folder / "gray.jpg").write_bytes(cv2.imencode(".jpg", np.eye(40, dtype=np.uint8) * 200)[1].tobytes())
    assert run("--input", folder, "--output", tmp_path / "out", "--damaged", "keep") == 0
    assert {row["key"]: row["damaged"] for row in rows(tmp_path / "out")} == {
        "DJI_1.JPG": False,
        "DJI_2.JPG": True,
        "gray.jpg": False,
    }
    told = {warning["kind"]: warning["example"] for warning in manifest_of(tmp_path / "out")["warnings"]}
    assert told == {
        "skipped.no_photograph": "DJI_1.SRT",
        "skipped.raw": "DJI_1.DNG",
        "whales.damaged": "DJI_2.JPG",
        "whales.gray": "gray.jpg",
    }
    assert "molino: warning: skipped raw files" in capsys.readouterr().err
    arguments = ["--max-pixels", 14_999, "--max-reject-ratio", 1]
    assert run("--input", folder, "--output", tmp_path / "few", *arguments) == 0
    [told] = {row["row"] for row in rows(tmp_path / "few", "rejects") if row["reason"] == "too_many_pixels"}
    assert told == "150 x 100 pixels, more than --max-pixels 14999"


def test_a_folder_without_a_photograph_says_what_it_has(tmp_path):
    (tmp_path / "Thumbs.db").write_bytes(b"")
    given = whales.parser().parse_args(["--input", str(tmp_path), "--output", "out"])
    with pytest.raises(DataError, match=r"no input holds an image; .*: 1; Thumbs\.db; check the paths"):
        whales.plan(given, whales.list_inputs(given))


def test_exif_is_in_the_rows(tmp_path):
    exif = Image.Exif()
    exif.update({0x10F: "DJI", 0x110: "FC6310", 0x132: "2015:07:04 10:11:12"})
    exif.get_ifd(0x8825).update({1: "S", 2: (41.0, 30.0, 0.0), 3: "W", 4: (64.0, 0.0, 0.0)})
    Image.new("RGB", (60, 40)).save(tmp_path / "w.jpg", exif=exif)
    assert run("--input", tmp_path / "w.jpg", "--output", tmp_path / "out") == 0
    [row] = rows(tmp_path / "out")
    assert (row["camera"], row["latitude"], row["longitude"], row["altitude"]) == ("DJI FC6310", -41.5, -64.0, None)
    assert row["taken"] == datetime.datetime(2015, 7, 4, 10, 11, 12)


def test_a_finished_run_is_not_repeated_and_another_is_refused(sea, output, capsys):
    before = (output / "_manifest.json").stat().st_mtime_ns
    same = ["--crop-size", 32, "--mask", "png", "--write-images", "--max-reject-ratio", 1, *SMALL]
    assert run("--input", sea[0], "--output", output, *same) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run("--input", sea[0], "--output", output, "--max-reject-ratio", 1) == 3
    assert "other options" in capsys.readouterr().err
    assert (output / "_manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bins", "0"], "--bins"),
        (["--bins", "99"], "bins 99 is not from 1 to 64"),
        (["--smallest", "1"], "smallest 1 is below 2"),
        (["--threshold", "nan"], "threshold nan"),
        (["--share", "0.2"], "--share has no effect with --method original"),
        (["--method", "fast", "--anywhere"], "--anywhere has no effect with --method fast"),
        (["--method", "saliency", "--share", "2"], "share 2.0 is not from 0.01 to 1"),
        (["--method", "saliency", "--bins", "8"], "--bins has no effect with --method saliency"),
        (["--method", "saliency", "--write-images"], "--write-images is not for"),
        (["--crop-quality", "101"], "--crop-quality: must be at most 100, not 101"),
        (["--crop-quality", "0", "--write-crops"], "--write-crops needs crops; --crop-quality 0 makes none"),
        (["--crop-size", "5000"], "--crop-size: must be at most 4,096, not 5000"),
        (["--damaged", "mend"], "--damaged"),
        (["--method", "slow"], "--method"),
        (["--crop_quality", "5"], "did you mean --crop-quality?"),
        (["--shuffle", "files"], "no such option"),
    ],
)
def test_wrong_options_are_errors(arguments, message, sea, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--input", sea[0], "--output", tmp_path / "out", *arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_inside_the_input_is_refused(sea, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--input", sea[0], "--output", sea[0] / "out")
    assert stopped.value.code == 2
    assert "lies inside --input" in capsys.readouterr().err


def test_a_shard_of_no_images_needs_leave(tmp_path):
    shard_tar([], tmp_path / "s.tar")
    assert run("--input", tmp_path / "s.tar", "--output", tmp_path / "out", "--allow-empty") == 0
    manifest, wrong = verify(str(tmp_path / "out"))
    assert wrong == []
    assert manifest["counters"]["images_read"] == manifest["datasets"]["regions"]["rows"] == 0


def test_alpha_gray_and_sixteen_bits_are_rows(tmp_path):
    sea = draw_sea(300, 200, np.random.default_rng(3)).image
    folder = tmp_path / "in"
    folder.mkdir()
    alpha = np.dstack([sea, np.full(sea.shape[:2], 255, np.uint8)])
    kinds = {
        "colour.png": sea,
        "alpha.png": alpha,
        "gray.png": cv2.cvtColor(sea, cv2.COLOR_BGR2GRAY),
        "sixteen.png": sea.astype(np.uint16) * 257,
    }
    for name, image in kinds.items():
        assert cv2.imwrite(str(folder / name), image)
    assert run("--input", folder, "--output", tmp_path / "out", *SMALL) == 0
    found = {row["key"]: (row["mode"], row["bits"]) for row in rows(tmp_path / "out")}
    assert found == {
        "colour.png": ("colour", 8),
        "alpha.png": ("alpha", 8),
        "gray.png": ("gray", 8),
        "sixteen.png": ("colour", 16),
    }
    boxes = {row["key"]: row["x"] for row in rows(tmp_path / "out")}
    assert boxes["colour.png"] == boxes["alpha.png"] == boxes["sixteen.png"]


@pytest.fixture
def grown(sea, tmp_path, monkeypatch):
    """Twenty small photographs in a folder, in units of a few; return it, and what runs the job on it."""
    monkeypatch.setattr(list_images, "LEAST_UNIT", 100_000)
    folder = tmp_path / "photographs"
    folder.mkdir()
    images = sorted(sea[0].glob("w_*.jpg"))
    for number in range(20):
        shutil.copy2(images[number % len(images)], folder / f"p_{number}.jpg")

    def grow(output, *options, inputs=(folder,)):
        how = ["--write-crops", "--report-images", 5, "--max-reject-ratio", 0.5, "--overwrite", *SMALL]
        assert run("--input", *inputs, "--output", tmp_path / output, *how, *options) == 0
        return manifest_of(tmp_path / output)["counters"]["units.rows_taken_over"]

    return folder, grow


@pytest.mark.slow
def test_any_history_gives_what_a_run_from_nothing_gives(grown, tmp_path):
    (folder, grow), random = grown, np.random.default_rng(7)
    assert grow("out") == 0
    for step in range(4):
        paths = sorted(folder.iterdir())
        gone, again, other = random.choice(len(paths), 3, replace=False)
        shutil.copy2(paths[other], folder / f"p_{step}_new.jpg")
        if step % 2:
            paths[gone].unlink()
        else:
            paths[again].write_bytes(b"no image" if step else paths[other].read_bytes())
        taken = grow("out", *(["--keep-previous", 0] if step == 2 else []))
        assert 5 <= taken <= 20  # of 20 to 22
        assert grow(f"anew-{step}") == 0
        assert_complete(tmp_path / "out", tmp_path / f"anew-{step}")


def test_what_changed_is_done_again_and_told(grown, tmp_path, capsys):
    folder, grow = grown
    assert grow("out") == 0
    before = rows(tmp_path / "out")
    status = (folder / "p_3.jpg").stat()
    (folder / "p_3.jpg").write_bytes((folder / "p_3.jpg").read_bytes()[::-1])  # of the same size, at another time
    os.utime(folder / "p_3.jpg", (status.st_mtime + 1,) * 2)
    capsys.readouterr()
    taken = grow("out")
    assert 10 <= taken <= 19
    assert f"taken over  {taken} of 20 images, from the run that was there" in capsys.readouterr().out
    assert rows(tmp_path / "out") == [row for row in before if row["key"] != "p_3.jpg"]
    assert [row["source"] for row in rows(tmp_path / "out", "rejects")] == ["p_3.jpg"]
    assert verify(str(tmp_path / "out"))[1] == []
    assert undeclared(manifest_of(tmp_path / "out")) == set()
    assert grow("out", "--mask", "rle") == 0  # other options take over nothing


def test_another_input_changes_no_key_and_nothing_that_is_damaged_is_taken_over(grown, tmp_path):
    folder, grow = grown
    assert grow("out") == 0
    before = rows(tmp_path / "out")
    (tmp_path / "more").mkdir()
    shutil.copy(folder / "p_3.jpg", tmp_path / "more/q.jpg")
    taken = grow("out", inputs=(folder, tmp_path / "more"))
    assert 10 <= taken <= 20
    assert rows(tmp_path / "out")[:20] == before
    regions = manifest_of(tmp_path / "out")["datasets"]["regions"]["files"]
    data = (tmp_path / "out" / regions[0]["path"]).read_bytes()
    (tmp_path / "out" / regions[0]["path"]).unlink()  # or the run before it would have another too
    (tmp_path / "out" / regions[0]["path"]).write_bytes(data[:100] + b"?" + data[101:])
    next((tmp_path / "out/crops").iterdir()).write_bytes(b"")
    (tmp_path / "more/q.jpg").unlink()
    (tmp_path / "more/r.jpg").write_bytes((folder / "p_4.jpg").read_bytes())
    assert 0 < grow("out", inputs=(folder, tmp_path / "more")) < taken
    assert grow("anew", inputs=(folder, tmp_path / "more")) == 0
    assert_complete(tmp_path / "out", tmp_path / "anew")


@needs_shared
@pytest.mark.slow
def test_the_published_files_and_all_known_boxes(tmp_path):
    images = sorted(SHARED.glob("w_*.jpg"))
    (tmp_path / "in").mkdir()
    for image in images:
        os.symlink(image, tmp_path / "in" / image.name)
    links = [str(path) for path in sorted((tmp_path / "in").iterdir())]  # named one by one, links are followed
    assert run("--input", *links, "--output", tmp_path / "out", "--write-images", workers=2) == 0
    known = json.loads((SHARED / "original_boxes.json").read_text())
    found = {row["key"]: row for row in rows(tmp_path / "out")}
    assert found.keys() == known.keys()
    for key, expected in known.items():
        row = found[key]
        assert [row["x"], row["y"], row["box_width"], row["box_height"]] == expected["box"], key
        assert (row["regions"], row["white_pixels"]) == (expected["contours"], expected["white_pixels"]), key
    for path in (SHARED / "published").iterdir():
        name = path.name
        assert (tmp_path / "out/images" / name).read_bytes() == path.read_bytes(), name
