"""Freeze what every command gives, so that code which is changed later can be compared with it.

    python benchmarks/reference.py freeze FOLDER --shared ../shared    with the code before the change
    python benchmarks/reference.py compare FOLDER                      with the code after it

`freeze` makes small inputs in FOLDER/inputs, once, and runs each case of CASES: a command line. What it gave is kept in
FOLDER/cases/CASE: `facts.json` has the exit code, digests, counters, warnings, hashes of files and figures of JSON;
`tables/` has the rows as Parquet. Trainers are run twice: what differs between both is kept as a name only.
`compare` runs the cases again on the inputs that FOLDER keeps, prints a line a case, and ends with 1 where something
differs: the facts, and the first row and column of each table. Reports and cards are not compared.
No text of a row is printed.

The program is only reached by its command line, in a process of its own: its modules may move between both.
Real data of `--shared` is copied into FOLDER by `freeze`; cases whose inputs are not there are skipped.
"""

import argparse
import csv
import gzip
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
Observed = tuple[dict[str, str], dict[str, list[Path]]]  # facts, and the Parquet files of tables
CURP = re.compile(r"[A-Za-z]{4}\d{6}[A-Za-z]{6}[A-Za-z0-9]{2}")
TRAINERS = ("train", "model train")
# @ stands for the folder of the inputs, % for that of the output; --output % is added to jobs and trainers
SAMPLES = """
sample names --rows 2000 --output @sep.txt
sample names --rows 3000 --hostile --seed 7 --output @hostile.txt
sample names --rows 2000 --files 3 --seed 8 --output @parts/sep.txt
sample titles --rows 1200 --output @titles.csv
sample titles --rows 800 --hostile --seed 3 --output @hostile.csv
sample whales --images 5 --width 700 --height 500 --output @sea
sample whales --images 2 --width 700 --height 500 --seed 4 --hostile --output @hostile-sea
sample pca --rows 1500 --output @points.parquet
sample pca --rows 900 --numbers 24 --seed 5 --output @long.parquet
sample pca --rows 300 --numbers 6 --hostile --output @hostile.parquet
"""
GROWN = """
titles --input @titles.csv --output @split
model train --input @split --dim 8 --epochs 1 --output @es-dim8
model train --input @titles.csv --dim 4 --epochs 1 --normalization --output @es-dim4-norm
titles --input @titles.csv --model es8=@es-dim8 --model norm4=@es-dim4-norm --write-tokens --output @run
train titles --input @run --architecture phrases --epochs 1 --output @phrases
train titles --input @run --embedding es8 --model es8=@es-dim8 --epochs 1 --output @mlp
titles --input @real-titles.parquet --model es8=@es-dim8 --output @real-run
train titles --input @real-run --architecture phrases --epochs 1 --dim 16 --output @real-phrases
"""
ALL = "--max-reject-ratio 1"
SEP = f"--input @hostile.txt {ALL}"
# a name, whose first part is the command, and the rest of the command line
TABLE = f"""\
names-plain --input @sep.txt
names-hostile {SEP} --repair-names
names-too-many-rejects --input @hostile.txt --max-reject-ratio 0.001
names-one-worker {SEP} --repair-names --workers 1 --span-bytes 20000
names-processes {SEP} --repair-names --workers 2 --worker-mode processes --span-bytes 50000
names-runner-shuffle {SEP} --repair-names --shuffle runner
names-shards {SEP} --shards 3 --max-line-bytes 100
names-century {SEP} --century-from-curp --reference-year 2024 --min-count 1
names-reject {SEP} --invalid-curp reject --min-count 2 --junk NULL NA
names-no-junk {SEP} --junk --min-count 3
names-hash {SEP} --curp hash --curp-key-file @key
names-drop {SEP} --curp drop --repair-names
names-parts --input @parts/*.txt --repair-names --min-count 2
names-kinds --input @parts/*.txt @sep.txt.gz @sep.zip --repair-names
names-utf8 --input @utf8.txt --encoding utf-8 --repair-names
names-quoted --input @quoted.csv --delimiter , --quote '"' --encoding utf-8 --curp-column clave\
 --primer-apellido-column paterno --segundo-apellido-column materno --nombre-column nombre {ALL}
names-parquet --input @sep.parquet --repair-names
names-empty --input @empty.txt
names-allow-empty --input @empty.txt --allow-empty
names-lacks-column --input @titles.csv --delimiter ,
names-no-input --input @nothing.txt
names-bad-option --input @sep.txt --min-cuont 3
names-no-key --input @sep.txt --curp hash
names-real-tables --input @real-sep.txt --repair-names --min-count 2
titles-plain --input @titles.csv
titles-hostile --input @hostile.csv {ALL} --model es8=@es-dim8 --write-model-text --write-tokens
titles-processes --input @hostile.csv @titles.csv {ALL} --model es8=@es-dim8 --workers 2 --worker-mode processes\
 --quote '' --span-bytes 30000 --shards 3
titles-parquet --input @titles.parquet --model es8=@es-dim8 --model norm4=@es-dim4-norm --vector-type float16 --exact\
 --seed 2 --validation 0.2 --test 0.1
titles-near --input @near.csv --delimiter ; --encoding latin-1 --without-category --title-column name\
 --category-column class --language-column tongue --label-quality-column trust --validation 0.3 --test 0.3
titles-runner-shuffle --input @titles.csv --workers 1 --shuffle runner --test 0
titles-wrong-digest --input @titles.csv --model es8=@es-dim8 --model-sha256 es8={64 * "0"}
titles-no-model --input @titles.csv --model es8=@nothing
titles-lacks-column --input @points.parquet
titles-generic-model --input @near.csv --delimiter ; --encoding latin-1 --without-category --title-column name\
 --category-column class --model nan=@models/nan
titles-null-column --input @field/titles/optint/in.parquet
titles-real --input @real-titles.parquet --model es8=@es-dim8
whales-original --input @sea/images --mask png --crop-size 32
whales-written --input @sea/images --write-images --bins 8 --threshold 0.4 --smallest 20 --kernel 30
whales-fast --input @sea/images/*.jpg --method fast --mask rle --crop-quality 0 --workers 1
whales-saliency --input @sea/images --method saliency --mask png --share 0.2 --crop-size 16
whales-anywhere --input @sea/images --method saliency --anywhere --mask rle --report-images 2
whales-hostile --input @hostile-sea/images {ALL} --max-pixels 1000000
whales-tar --input @sea.tar @sea/images --method fast
whales-parquet --input @sea.parquet --name-column image.path --bytes-column image.bytes
whales-processes --input @sea/images --method fast --workers 2 --worker-mode processes
whales-zip --input @sea.zip
whales-real-original --input @photographs --mask rle --crop-quality 50
whales-real-fast --input @photographs --method fast --mask rle --crop-quality 0
whales-real-saliency --input @photographs --method saliency --mask rle --crop-size 24 --crop-quality 0
whales-odd --method fast --crop-quality 0 {ALL} --input @odd/sound @odd/scan_header @odd/jfif_revision\
 @odd/adobe_transform @odd/restarts @odd/lost_cluster @odd/harmless_extra @odd/large @odd/formats @odd/tars/dot.tar\
 @odd/card
whales-webdataset --input @odd/webdataset --crop-quality 0 --method fast {ALL}
whales-null-rows --input @odd/failed_rows --name-column key --bytes-column jpg --method fast {ALL}
whales-same-names --input @odd/hf_same_names --name-column image.path --bytes-column image.bytes
pca-points --input @points.parquet --column vector
pca-center --input @points.parquet --column vector --center --seed 3
pca-long --input @long.parquet --column vector --max-cosine-error 0.05 --workers 1
pca-few --input @long.parquet --column vector --components 5 --vector-type float16 --center
pca-too-many --input @long.parquet --column vector --components 50
pca-hostile --input @hostile.parquet --column vector {ALL}
pca-too-many-rejects --input @hostile.parquet --column vector
pca-float16 --input @vectors.parquet --column half --components 3 --label-column name
pca-float32 --input @vectors.parquet --column single --against double --components 2 --label-column name
pca-integers --input @vectors.parquet --column whole --against single --workers 2 --worker-mode processes
pca-small-ones --input @vectors.parquet --column thin --center --components 3
pca-list --input @vectors.parquet --column loose {ALL} --vector-type float32
pca-files --input @long.parquet @longer/*.parquet --column vector --components 7
pca-run --input @run --column es8 --against norm4 --max-cosine-error 0.02 --label-column title
pca-no-column --input @long.parquet --column vectors
pca-csv --input @titles.csv --column title
shapes-demo --sweep @demo.yaml --rows 2000
shapes-all --sweep @all.yaml --rows 1000 --no-plots --seed 7 --workers 1
shapes-study --sweep @all.yaml --points study --rows 1500 --problem ring=0.6 cos=12 --no-plots --workers 2\
 --worker-mode processes
shapes-bad-sweep --sweep @bad.yaml
predict-phrases --input @hostile.csv --model @phrases {ALL}
predict-mlp --input @titles.parquet --model @mlp --shards 2 --workers 1
predict-near --input @near.csv --model @phrases/serving --delimiter ; --encoding latin-1 --title-column name\
 --language-column tongue --workers 2 --worker-mode processes
predict-real --input @real-titles.parquet --model @real-phrases
predict-no-model --input @titles.csv --model @sea
model-run train --input @split --dim 6 --epochs 2 --buckets 10 --seed 3
model-csv train --input @titles.csv --dim 4 --epochs 1 --normalization --vocabulary 300 --min-count 1
model-unsupervised train --input @titles.parquet --dim 4 --epochs 1 --unsupervised --batch 64
model-inspect inspect @es-dim4-norm
train-linear titles --input @run --architecture linear --epochs 2 --balance logits --schedule cosine
train-mlp-512 titles --input @run --embedding es8 --model es8=@es-dim8 --epochs 1 --per-language
train-mlp-2048 titles --input @run --architecture mlp-2048 --embedding norm4 --epochs 1 --balance none
train-fine-tune titles --input @run --embedding es8 --model es8=@es-dim8 --architecture linear --epochs 1 --fine-tune
train-phrases titles --input @run --architecture phrases --members 2 --dim 8 --leave-out 0.2 --epochs 2
train-real titles --input @real-run --architecture phrases --epochs 1 --dim 8
train-no-run titles --input @sea
train-compare compare --input @run --repeats 2 --draws 200 --architecture linear --epochs 1
train-published compare --published @published.parquet --metadata @published.json --draws 200
sample-names names --rows 500 --files 2 --seed 1 --hostile --output %/sep.txt
sample-titles titles --rows 500 --seed 1 --hostile --output %/titles.csv
sample-whales whales --images 2 --width 300 --height 200 --seed 1 --output %
sample-pca pca --rows 200 --numbers 5 --seed 1 --hostile --output %/vectors.parquet
verify-run @run
verify-nothing @sea
"""
# of each folder of cases from the field, what is given as the input
NAMES = """annex/d/2012-*.txt backslash/* bz2/* century/* comment-lines/* cp850-default/* crcrlf/* curp-empty/*
curp-in-name/* gz-members-headers/* header-case/* header-repeated/* header-spaces/* header-two-files/* hidden-glob/*
nbsp/* null-tokens/* order/* padded/* parquet-binary/* parquet-nulls/* preamble/* quoted-data-no-quote/* rfc-column/*
rsync-temp/data/* sex-x/* smart-quotes/* spark-folder/out.csv/* targz/* trailing-delim-rows/* utf32/* utf8-default/*
utf8-bom-default/* xz/* zst/* zip-deflate64/* zip-macosx/* zip-nested/* zip-readme/*"""
UTF8 = "bom-span/* mojibake-utf8/* nfd/* utf8-bom-default/*"
VECTORS = """carried-uuid/* dask-_metadata/t/part* first-vector-empty-list/* fixed-shape-tensor/* list-int64/*
fixed-shape-tensor-carried/* parts-nullable-differ/* polars-tags/* spark-vectorudt/* struct-of-largestring/*"""
CASES = {name: f"{name.partition('-')[0]} {rest}" for name, _, rest in (x.partition(" ") for x in TABLE.splitlines())}
for kind, inputs, options in (
    ("names", NAMES, "--repair-names --min-count 1"),
    ("names-utf8", UTF8, "--repair-names --min-count 1 --encoding utf-8"),
    ("vectors", VECTORS, f"--column v --components 2 {ALL}"),
):
    job, folder = ("pca", kind) if kind == "vectors" else ("names", "names")
    for path in inputs.split():
        CASES[f"field-{kind}-{path.partition('/')[0]}"] = f"{job} --input @field/{folder}/{path} {options}"
BORROWED = ("field", "models", "odd", "photographs", "published", "real-")
SWEEPS = {
    "demo.yaml": "- {problem: [circle, ring], hidden: [1, 10, 100], batch: 100, steps: 500}\n"
    "- {problem: ring, hidden: [[30, 30]], batch: 200, steps: 500, deviation: 0.3}\n",
    "all.yaml": "- {hidden: [3, [10, 10]], batch: 50, steps: [11, 201], rate: 0.3, decay: 0.9, decay_steps: 50}\n"
    "- {problem: [circle=0.5, cos=12], hidden: 20, batch: 100, steps: 300, seed: [1, 2], l2: 0}\n"
    "- {problem: polar, hidden: 5, batch: 10, steps: 50, rate: 1000, deviation: 100}\n",
    "bad.yaml": "- {problem: square, hidden: 3, batch: 50, steps: 11}\n",
}
NEAR = """tongue;name;trust;class
spanish;Sofá-Cama 2 Plazas;reliable;SOFAS
spanish;SOFA CAMA 2 PLAZAS;unreliable;SOFAS
spanish;2 plazas sofa cama;;SOFAS
spanish;2 plazas sofa cama;;BEDS
portuguese;"Capa; ""boa"" de
celular";reliable;CELLPHONE_COVERS
;¿Qué   tal?;reliable;
"""


def make_inputs(molino: Sequence[str], inputs: Path, shared: Path, work: Path) -> None:
    """Make the inputs of all cases in a new folder; it appears under its name when it is complete."""
    partial = inputs.with_name("inputs.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for lines in (SAMPLES, GROWN):
        for line in lines.strip().splitlines():
            if not missing(line.partition("--output")[0], partial):
                done = run(molino, line, partial, work)
                if done.returncode:
                    sys.exit(f"reference: exit code {done.returncode} of: {line}\n{done.stderr[-2000:]}")
        if lines is SAMPLES:
            derive(partial)
            if shared.is_dir():
                borrow(partial, shared, work)
    partial.rename(inputs)


def derive(inputs: Path) -> None:
    """Write the samples in other forms, and what no sample has."""
    rng, plain = random.Random(1), (inputs / "sep.txt").read_bytes()
    for name, text in SWEEPS.items():
        (inputs / name).write_text(text)
    (inputs / "key").write_text("0123456789abcdef0123456789abcdef\n")
    (inputs / "empty.txt").write_bytes(plain.partition(b"\n")[0] + b"\n")
    (inputs / "near.csv").write_text(NEAR + "".join(f";Mesa {i};;TABLES\n" for i in range(60)), encoding="latin-1")
    (inputs / "utf8.txt").write_bytes(b"\xef\xbb\xbf" + plain.decode("latin-1").replace("\n", "\r\n").encode())
    (inputs / "sep.txt.gz").write_bytes(gzip.compress(plain[:60000].rpartition(b"\n")[0]) + gzip.compress(b"\n"))
    with zipfile.ZipFile(inputs / "sep.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted((inputs / "parts").iterdir(), reverse=True):
            archive.write(part, f"y/{part.name}")
    rows = [line.split("|")[2:6] for line in plain.decode("latin-1").splitlines()[1:]]
    quoted = [*rows[:500], ["", 'DE "LA", O', "ÁÑ\nÜ", "JUAN, JOSÉ"], *rows[450:700]]
    with (inputs / "quoted.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["clave", "paterno", "materno", "nombre"], *quoted])
        file.write('"broken"quote,a,b,c\n"unclosed,a,b,c\n')
    names = ["CURP", "PRIMERAPELLIDO", "SEGUNDOAPELLIDO", "NOMBRESTRABAJADOR"]
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    table = table.set_column(1, names[1], table[names[1]].dictionary_encode())
    pq.write_table(table, inputs / "sep.parquet", row_group_size=700)
    pq.write_table(pa.csv.read_csv(inputs / "titles.csv"), inputs / "titles.parquet", row_group_size=300)
    images = sorted((inputs / "sea/images").iterdir())
    with tarfile.open(inputs / "sea.tar", "w") as tar, zipfile.ZipFile(inputs / "sea.zip", "w") as archive:
        for image in images:
            tar.add(image, f"in/{image.name}")
            archive.write(image, image.name)
    cells = [{"path": image.name, "bytes": image.read_bytes()} for image in images]
    pq.write_table(pa.table({"image": cells}), inputs / "sea.parquet", row_group_size=2)
    long = pq.read_table(inputs / "long.parquet")
    (inputs / "longer").mkdir()
    for start in (0, 100, 400):
        pq.write_table(long.slice(start, start + 50), inputs / f"longer/{start}.parquet", row_group_size=60)
    double = [[rng.gauss(0, 1 / (place + 1)) for place in range(8)] for _ in range(1000)]
    loose: list[Any] = [row[:4] for row in double]
    loose[5:10] = [None, [1.0], [1.0, None, 0.0, 0.0], [float("nan")] * 4, [float("inf")] * 4]
    columns = {
        "name": pa.array([f"n{i % 700}" for i in range(1000)]).dictionary_encode(),
        "half": pa.array(double, pa.list_(pa.float16(), 8)),
        "single": pa.array(double, pa.list_(pa.float32(), 8)),
        "double": pa.array(double, pa.list_(pa.float64())),
        "whole": pa.array([[int(9 * number) for number in row[:3]] for row in double], pa.list_(pa.int32(), 3)),
        "thin": pa.array([[x, x + 1e-6 * y, 1e-9 * z] for x, y, z, *_ in double], pa.list_(pa.float64(), 3)),
        "loose": pa.array(loose, pa.list_(pa.float64())),
        "when": pa.array([None if i % 9 == 0 else i for i in range(1000)], pa.timestamp("us")),
        "part": pa.array([{"a": i, "b": [str(i)] * (i % 3)} for i in range(1000)]),
    }
    pq.write_table(pa.table(columns), inputs / "vectors.parquet", row_group_size=300)


def borrow(inputs: Path, shared: Path, work: Path) -> None:
    """Copy the real data and the cases from the field that are wanted, and write samples after them."""
    rng, data, field = random.Random(2), shared / "data", shared / "field"
    wanted = [(path, f"photographs/{path.name}") for path in sorted((data / "whales").glob("w_*.jpg"))[::6][:5]]
    wanted += [(path, f"field/{path.relative_to(field)}") for path in field.rglob("*") if path.is_file()]
    wanted.append((data / "meli/experiments.json", "published.json"))
    for path, name in wanted:
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        (inputs / name).write_bytes(path.read_bytes())
    for name, of, step in (("real-titles", "titles", 200), ("published", "predictions", 50)):
        table = pq.read_table(data / f"meli/{of}.parquet")
        pq.write_table(table.take(pa.array(range(0, len(table), step))), inputs / f"{name}.parquet")
    drawn = []
    for name, count in (("apellidos", "frec_pri"), ("apellidos", "frec_seg"), ("hombres", "frec"), ("mujeres", "frec")):
        with (data / f"sep/{name}.csv").open(encoding="latin-1", newline="") as file:
            lines = list(csv.DictReader(file))
        values = [line.get("apellido", line.get("nombre", "")) for line in lines]
        drawn.append(rng.choices(values, [int(line[count]) for line in lines], k=3000))
    with (inputs / "real-sep.txt").open("w", encoding="latin-1") as out:
        out.write("CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR\n")
        for first, second, man, woman in zip(*drawn, strict=True):
            letters, year = "".join(rng.choices("ABCDEFGH", k=4)), rng.randint(30, 95)
            for sex, name in (("H", man), ("M", woman)):
                out.write(f"{letters}{year}0101{sex}DFBRL0{rng.randint(0, 9)}|{first}|{second}|{name}\n")
    (work / "cjpeg").symlink_to("/bin/false")  # that script can do without it, but not start what is not there
    env = os.environ | {"PATH": f"{os.environ['PATH']}:{work}"}
    scripts = {"titles/make_models.py": ["models"], "whales/make_cases.py": [wanted[0][1], "odd", "photographs"]}
    for script, names in scripts.items():
        paths = [str(inputs / name) for name in names]
        subprocess.run([sys.executable, str(field / script), *paths], check=True, capture_output=True, env=env)


def missing(line: str, inputs: Path) -> str:
    """Return the borrowed input of a command line that is not there, or ""."""
    words = re.findall(r"@([\w-]+)", line)
    return next((word for word in words if word.startswith(BORROWED) and not any(inputs.glob(f"{word}*"))), "")


def run(molino: Sequence[str], line: str, inputs: Path, work: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line; its output is `work`/out."""
    words = [word.replace("@", f"{inputs}/").replace("%", f"{work}/out") for word in shlex.split(line)]
    if "--output" not in words and words[0] != "verify" and words[:2] != ["model", "inspect"]:
        words += ["--output", f"{work}/out"]
    env = {name: value for name, value in os.environ.items() if name not in ("MOLINO_CURP_KEY", "KERAS_BACKEND")}
    env |= {"PYTHONPATH": str(ROOT), "MOLINO_CACHE": str(work / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [*molino, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False
    )


def observe(molino: Sequence[str], line: str, inputs: Path, work: Path) -> Observed:
    """Run a case; return its facts, and the Parquet files of each table in order."""
    output = work / "out"
    shutil.rmtree(output, ignore_errors=True)
    done = run(molino, line, inputs, work)
    facts, tables = {"exit code": str(done.returncode)}, {}

    def clean(text: str) -> str:
        for path, mark in ((inputs, "@"), (work, "%"), (ROOT, ".")):
            text = text.replace(str(path), mark)
        return CURP.sub("[CURP]", text)

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict | list):
            for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
                add(f"{name}.{key}", inner)
        else:
            facts[name] = clean(json.dumps(value, ensure_ascii=False))

    if done.returncode:
        add("error", [text for text in done.stderr.splitlines() if re.match(r"molino|[\w.]*Error\b", text)])
    elif not output.exists():
        add("printed", done.stdout.splitlines())
    if (output / "_manifest.json").exists():
        manifest = json.loads((output / "_manifest.json").read_text())
        for key in ("digest", "counters", "warnings", "balance"):
            add(key, manifest[key])
        for name, dataset in manifest["datasets"].items():
            add(name, {key: dataset[key] for key in ("schema", "version", "rows", "digest")})
            tables[name] = [output / file["path"] for file in dataset["files"]]
    listed = {path for paths in tables.values() for path in paths}
    for path in sorted(output.rglob("*")):
        name = str(path.relative_to(output))
        if name.startswith("_staging/"):
            continue  # what a failed run leaves tells when it failed
        if path.suffix == ".parquet" and path not in listed:
            tables[name.replace("/", "!")] = [path]
        elif path.suffix == ".json" and path.name != "_manifest.json":
            add(name, json.loads(path.read_text()))
        elif path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                add(name, {member: hashlib.sha256(archive.read(member)).hexdigest() for member in archive.namelist()})
        elif path.is_file() and path.suffix not in (".html", ".parquet", ".md") and not path.name.startswith("_"):
            add(f"bytes of {name}", hashlib.sha256(path.read_bytes()).hexdigest())
    return facts, tables


def differences(before: Observed, after: Observed) -> Iterator[tuple[str, str]]:
    """Yield what differs: its name, and how. Texts of rows are not told."""
    for key in sorted(before[0].keys() | after[0].keys()):
        if before[0].get(key) != after[0].get(key):
            yield key, f"{after[0].get(key, 'nothing')[:200]}, not {before[0].get(key, 'nothing')[:200]}"
    for name in sorted(before[1].keys() | after[1].keys()):
        old, new = (load(tables.get(name, [])) for tables in (before[1], after[1]))
        if len(old) != len(new):
            yield f"{name}: rows", f"{len(new)} rows, not {len(old)}"
            continue
        if not old.schema.equals(new.schema, check_metadata=True):
            yield f"{name}: schema", "another schema, or other metadata"
        for column in (column for column in old.column_names if column in new.column_names):
            if old[column].equals(new[column]):
                continue
            for place, pair in enumerate(zip(old[column].to_pylist(), new[column].to_pylist(), strict=True)):
                if repr(pair[0]) != repr(pair[1]):  # so NaN equals NaN
                    numbers = all(isinstance(value, int | float | None) for value in pair)
                    how = f"{pair[1]}, not {pair[0]}" if numbers else "other values"
                    yield f"{name}: {column}", f"row {place}: {how}"
                    break


def load(paths: Sequence[Path]) -> pa.Table:
    """Return the rows of Parquet files, or a table without columns for no files."""
    return pa.concat_tables([pq.ParquetFile(path).read() for path in paths]) if paths else pa.table({})


def freeze(molino: Sequence[str], line: str, inputs: Path, work: Path, place: Path) -> list[str]:
    """Run a case and keep what it gave; return the names of what is not the same every time."""
    shutil.rmtree(place, ignore_errors=True)
    facts, tables = observe(molino, line, inputs, work)
    for name, paths in tables.items():
        (place / "tables" / name).mkdir(parents=True)
        for number, path in enumerate(paths):
            shutil.copyfile(path, place / "tables" / name / f"{number:05d}.parquet")
    place.mkdir(parents=True, exist_ok=True)
    again = observe(molino, line, inputs, work) if line.startswith(TRAINERS) else (facts, tables)
    unstable = sorted({name for name, _ in differences((facts, kept_tables(place)), again)})
    facts = {name: value for name, value in facts.items() if name not in unstable}
    kept = {"command": line, "facts": facts, "unstable": unstable}
    (place / "facts.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return unstable


def kept_tables(place: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of each table that is kept of a case."""
    return {folder.name: sorted(folder.iterdir()) for folder in (place / "tables").glob("*")}


def compare(molino: Sequence[str], line: str, inputs: Path, work: Path, place: Path) -> list[str]:
    """Run a case again; return how it differs from what is kept."""
    kept = json.loads((place / "facts.json").read_text())
    found = differences((kept["facts"], kept_tables(place)), observe(molino, line, inputs, work))
    return [f"{name}: {how}" for name, how in found if name not in kept["unstable"]]


def main() -> int:
    """Freeze or compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("freeze", "compare"))
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="real data, which freeze copies")
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=CASES, help="these cases, of: " + " ".join(CASES))
    parser.add_argument("--molino", metavar="CMD", default="molino", help="what follows `python -m` (default: molino)")
    options = parser.parse_args()
    folder = options.folder.resolve()
    inputs, started, differing = folder / "inputs", time.monotonic(), 0
    if options.action == "compare" and not inputs.is_dir():
        parser.error(f"{folder} holds no reference; freeze one there")
    with tempfile.TemporaryDirectory(prefix="reference-") as temporary:
        work = Path(temporary).resolve()
        molino = [sys.executable, "-m", *shlex.split(options.molino)]
        if options.action == "freeze" and not inputs.exists():
            make_inputs(molino, inputs, options.shared.resolve(), work)
        for name in options.only or CASES:
            line, place, began = CASES[name], folder / "cases" / name, time.monotonic()
            if absent := missing(line, inputs):
                print(f"{name}: skipped, {absent} is not there", flush=True)
            elif options.action == "freeze":
                unstable = freeze(molino, line, inputs, work, place)
                told = f"; not the same every time: {', '.join(unstable)}" if unstable else ""
                code = json.loads((place / "facts.json").read_text())["facts"].get("exit code")
                print(f"{name}: kept, exit code {code}, {time.monotonic() - began:.1f} s{told}", flush=True)
            elif not (place / "facts.json").exists():
                print(f"{name}: skipped, it was not frozen", flush=True)
            else:
                found = compare(molino, line, inputs, work, place)
                differing += bool(found)
                print(f"{name}: {'DIFFERS' if found else 'equal'}, {time.monotonic() - began:.1f} s", flush=True)
                print("".join(f"    {text}\n" for text in found), end="", flush=True)
    print(f"{options.action}: {differing} cases differ, {time.monotonic() - started:.0f} s")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
