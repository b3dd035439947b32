"""What images there are to read, in which order, and in which work units: nothing of them is read before that.

Images lie in files of their own, in tar shards, or in Parquet shards with a column of names and one of bytes. An
image's key is the path of its file below the input that names it; for a shard the shard's path, "!" and the name
inside it. Images are in the natural order of the keys of files, and inside a shard as they stand. Units are cut by the
keys, so that an image that comes or goes changes one of them, or two.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import re
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molino.transforms.errors import DataError
from molino.transforms.files import list_files, storage
from molino.transforms.files.open_parquet import open_parquet
from molino.transforms.files.storage import FileInfo
from molino.transforms.images.name_images import folding
from molino.transforms.images.shard_columns import ShardColumns, column_of, find_shard_columns
from molino.transforms.rows.batches import concat
from molino.transforms.rows.carried import check_carried, plain_field
from molino.transforms.rows.digest import digest
from molino.transforms.warnings import Sighting, add_sightings

WHOLE = -1  # the place of an image that is a file of its own
NO_END = -2  # the place of what a tar lacks that is cut off: nobody knows how many members there were
REPLACED = "replaced"  # skipped: a member of a tar that a later one of the same name replaces
NO_PHOTOGRAPH = "no_photograph"  # skipped: by its name a video, a record beside photographs, or a program's own file
RAW = "raw"  # skipped: a raw file beside a photograph of the same name
NOT_INCLUDED = "not_included"  # skipped: a file or a member that none of the globs matches which were asked for
FAILED = "failed_download"  # skipped: a row of a picture that img2dataset could not fetch
SHARDS = (".tar", ".parquet")
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
OWN_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", "picasa.ini")
RECORDS = """txt csv tsv json jsonl geojson xml xmp yaml yml ini cfg log md html htm pdf doc docx xls xlsx db sqlite gpx
    kml kmz nmea srt sub ass vtt thm lrv lrf aae mrk nav obs aux jgw pgw tfw prj dbf shp shx cpg bak tmp md5 sha256 lnk
    url"""
VIDEOS = "mp4 m4v mov avi mkv webm mpg mpeg mts m2ts wmv flv 3gp insv wav mp3 m4a aac"
RAW_FILES = "dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw raw rwl iiq 3fr fff gpr"
NO_PHOTOGRAPHS, RAWS = (
    tuple(f".{ending}" for ending in endings.split()) for endings in (f"{RECORDS} {VIDEOS}", RAW_FILES)
)
PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".png", ".heic", ".heif", ".tif", ".tiff", ".webp")
ROW = re.compile(rb"row-\d+")  # a name made of the number of a row
HERE = re.compile(r"(?:(?<=/)|^)(?:\./+)+")  # in a member's path
LEAST_UNIT, MOST_UNIT = 1 << 20, 64 << 20  # bytes of a unit, about
MANY_UNITS = 256  # where there are more, units are four times as large
SHORTEST, LONGEST, ENDS = 0.5, 2.0, 2.5  # of units, by their usual size; and places where one may end in that size
ROW_BITS = 32  # the place of an image in Parquet is row group << ROW_BITS | row in the group

LISTED = pa.schema(
    [
        ("key", pa.string()),
        ("path", pa.binary()),  # as the file system has it, which need not be text
        ("state", pa.string()),  # size and time of change of that file
        ("place", pa.int64()),  # WHOLE, the offset in a tar, or the row in Parquet
        ("bytes", pa.int64()),  # an estimate in Parquet
        ("sidecars", pa.list_(pa.int64())),  # in a tar: place and size of what is carried, -1 and 0 for none
        ("folds", pa.bool_()),  # whether some file system takes the name of its crop for that of another
        ("unit", pa.int32()),
    ]
)


NOTHING = pa.schema([])


class Spot(NamedTuple):
    """Where an image lies. Spots of the same `group` of a file are read in one go, and never parted between units."""

    key: str
    path: bytes
    place: int
    bytes: int
    group: int = 0
    sidecars: tuple[int, ...] = ()


NOWHERE = Spot("", b"", -1, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Units:
    """All images, cut into work units by the listing alone."""

    images: pa.RecordBatch  # LISTED, in order; the units are runs of rows
    skipped: Mapping[str, int]  # entries of folders and shards, not read, by reason; with the place of one if known
    kept: pa.Schema = NOTHING  # columns that are carried, as the output has them; the types hold those of all shards
    unnamed: int = 0  # rows of Parquet that are named after their number; with the key of one

    @property
    def count(self) -> int:
        """Number of units."""
        return self.images["unit"][-1].as_py() + 1 if self.images.num_rows else 0

    def parts(self) -> Iterator[pa.RecordBatch]:
        """Yield the images of each unit."""
        starts = np.searchsorted(self.images["unit"].to_numpy(), np.arange(self.count + 1)).tolist()
        return (self.images.slice(start, end - start) for start, end in itertools.pairwise(starts))

    def contents(self) -> list[str]:
        """Return the sha256 of what is in each unit, as far as the listing tells: of all but its number."""
        return [digest(part.select(LISTED.names[:-1])) for part in self.parts()]


@dataclasses.dataclass(kw_only=True)
class _Seen:
    """What is looked for, and what was met on the way."""

    columns: ShardColumns
    include: Sequence[str]  # globs of the files and members that are read; empty for all
    skipped: dict[str, int]  # as in Units
    beside: set[str]  # tars and folders, without endings: a Parquet file of such a name may be of their records
    # columns of every Parquet shard, and of every other file those of its folders, by path
    schemas: dict[str, pa.Schema] = dataclasses.field(default_factory=dict)
    unnamed: int = 0


def list_images(
    listings: Sequence[list_files.Listing],
    columns: ShardColumns,
    *,
    include: Sequence[str] = (),
    pictures: bool = False,
    unit_bytes: int | None = None,
    unit_images: int = 128,
) -> Units:
    """Return all images of the inputs, each file once, in units of about `unit_bytes` or `unit_images`: see `pack`.

    By default a unit has 1, 4, 16 or 64 MiB: the least by which there are fewer than 256. A file that several inputs
    name is of the first. `include` has globs of the files and members of tars that are read, by their last names, or
    with a "/" by the whole path; empty for all. Shards themselves and rows of Parquet need not match. With `pictures`
    names of pictures are looked for that fold together; 100,000 take half a second.

    DataError: a Parquet shard lacks a column, a column is carried that no input has or that has several types, images
    of two inputs have the same key, or a packed archive was named.
    """
    skipped: dict[str, int] = {}
    for listing in listings:
        for reason, n in listing.skipped.items():
            skipped[reason] = add_sightings(skipped.get(reason, 0), n)
    roots = {file.path: len(listing.root) for listing in reversed(listings) for file in listing.files}
    files = {file.path: file for listing in listings for file in listing.files}
    keys = file_keys([os.fsencode(path[roots[path] :]) for path in files])
    named = sorted(zip(keys, files.values(), strict=True), key=lambda pair: list_files.natural_order(pair[0]))
    beside = {path.removesuffix(SHARDS[0]) for path in files} | {path.rpartition("/")[0] for path in files}
    seen = _Seen(columns=columns, include=include, skipped=skipped, beside=beside)
    photographs = _photographs(dict(zip(files, keys, strict=True)), seen)
    spots = [spot for key, file in named if file.path in photographs for spot in _spots(key, file, seen)]
    _check_keys(spots)
    size, total = unit_bytes or LEAST_UNIT, sum(spot.bytes for spot in spots)
    while not unit_bytes and size < MOST_UNIT and total >= size * MANY_UNITS:
        size *= 4
    units = pack(spots, size, unit_images)
    states = {os.fsencode(path): f"{file.bytes} {file.modified:.6f}" for path, file in files.items()}
    found = {name: [getattr(spot, name) for spot in spots] for name in ("key", "path", "place", "bytes", "sidecars")}
    found["state"] = [states[path] for path in found["path"]]
    found["folds"] = folding(found["key"]) if pictures else [False] * len(spots)
    found["unit"] = units
    images = pa.RecordBatch.from_pydict(found, schema=LISTED)
    return Units(images=images, skipped=skipped, kept=_kept(columns, seen.schemas), unnamed=seen.unnamed)


def _kept(columns: ShardColumns, schemas: Mapping[str, pa.Schema]) -> pa.Schema:
    """Return the columns that are carried, given those that were met, as `_Seen` has them."""
    kept = []
    for column, name in columns.keep:
        found = {path: schema.field(column) for path, schema in schemas.items() if column in schema.names}
        if not found:
            there = sorted({name for schema in schemas.values() for name in schema.names})
            raise DataError(f"--keep {column}: no input has this column; there are: {', '.join(there[:20]) or 'none'}")
        types = {str(field.type): path for path, field in found.items()}
        if len(types) > 1:
            told = " and ".join(f"{type_} in {path}" for type_, path in list(types.items())[:2])
            raise DataError(f"the column {column!r} is {told}; write it as one type, or leave it out of --keep")
        path, field = next(iter(found.items()))
        check_carried(pa.schema([field]), path, "leave it out of --keep")
        kept.append(pa.field(name, field.type))
    return pa.schema(kept)


def _photographs(named: Mapping[str, str], seen: _Seen, prefix: str = "") -> set[str]:
    """Return the paths that are asked for, and whose names do not say that they are no photographs; count the others.

    `named` are keys by path; members of a shard have a prefix.
    """
    stems = {_stem(path) for path in named if path.lower().endswith(PHOTOGRAPHS)}
    globs = [(list_files.glob_regex(glob), "/" in glob) for glob in seen.include]
    skipped, kept = seen.skipped, set()
    for path, key in named.items():
        lower = path.lower()
        asked = not globs or any(glob.match(key if whole else key.rpartition("/")[2]) for glob, whole in globs)
        if not asked and (prefix or not lower.endswith(SHARDS)):
            list_files.skip(skipped, NOT_INCLUDED, prefix + key)
        elif lower.endswith(NO_PHOTOGRAPHS) or lower.rpartition("/")[2] in OWN_FILES:
            list_files.skip(skipped, NO_PHOTOGRAPH, prefix + key)
        elif lower.endswith(RAWS) and _stem(path) in stems:
            list_files.skip(skipped, RAW, prefix + key)
        else:
            kept.add(path)
    return kept


def _stem(name: str) -> str:
    """Return a name without its ending.

    >>> _stem("2015.07/w.1.jpg"), _stem("2015.07/w")
    ('2015.07/w.1', '2015.07/w')
    """
    return os.path.splitext(name)[0]


def file_keys(paths: Sequence[bytes]) -> list[str]:
    r"""Return the keys of files from their relative paths: text in NFC, from which the path can be told.

    A backslash is doubled and a byte that is not UTF-8 is written as \xNN. A path that is not NFC keeps its own form
    when another file has the normal one: two files never share a key.

    >>> file_keys([b"a/w.jpg", b"latin-1 \xf1.jpg", b"back\\slash"])
    ['a/w.jpg', 'latin-1 \\xf1.jpg', 'back\\\\slash']
    >>> file_keys(["n\u0303.jpg".encode()]) == ["ñ.jpg"], len(set(file_keys(["n\u0303".encode(), "ñ".encode()])))
    (True, 2)
    """
    texts = [path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace") for path in paths]
    times = Counter(unicodedata.normalize("NFC", text) for text in texts)
    normal = (unicodedata.normalize("NFC", text) for text in texts)
    return [key if times[key] == 1 else text for key, text in zip(normal, texts, strict=True)]


def pack(spots: Sequence[Spot], size: int, count: int) -> list[int]:
    """Return the unit of each spot: consecutive ones, whole groups only, cut where the hash of a key says so.

    A unit has about `size` bytes or `count` spots; half of that at least, but for the last one, and twice as much at
    most, but for a group that has more. Where it may end does not depend on what comes before or after: what is added
    or taken away changes the unit around it, and seldom the next.

    >>> spots = [Spot(key, b"", number, 4) for number, key in enumerate("abcdefghijkl")]
    >>> pack(spots, 30, 9), pack(spots[1:], 30, 9)
    ([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2])
    """
    units: list[int] = []
    unit, held = 0, 0.0
    for _, group in itertools.groupby(spots, key=lambda spot: (spot.path, spot.group or spot.place)):
        members = list(group)
        share = max(sum(spot.bytes for spot in members) / size, len(members) / count)
        if held and held + share > LONGEST:
            unit, held = unit + 1, 0.0
        units += [unit] * len(members)
        held += share
        chance = int.from_bytes(hashlib.sha256(members[-1].key.encode()).digest()[:6]) / (1 << 48)
        if held >= SHORTEST and chance < share * ENDS:
            unit, held = unit + 1, 0.0
    return units


def _spots(key: str, file: FileInfo, seen: _Seen) -> Iterator[Spot]:
    """Yield the images of a file: itself, or what a shard holds. What is no shard in spite of its name is a file."""
    lower = key.lower()
    if lower.endswith(PACKED):
        raise DataError(f"cannot read {file.path!r}: members of a packed archive are not read in place; unpack it")
    if seen.columns.keep:
        seen.schemas[file.path] = pa.schema([(name, pa.string()) for name in list_files.folder_columns(file.path)])
    if lower.endswith(SHARDS[0]) and _is_tar(_read_head(file.path)):
        yield from _tar_spots(key, file, seen)
    elif lower.endswith(SHARDS[1]) and file.bytes >= 12 and _read_head(file.path)[:4] == b"PAR1":
        yield from _parquet_spots(key, file, seen)
    else:
        yield Spot(key, os.fsencode(file.path), WHOLE, file.bytes)


def _is_tar(head: bytes) -> bool:
    """Return whether a file begins as a tar does, or is one of no members."""
    return head[257:262] == b"ustar" or (len(head) == 512 and not any(head))


def _read_head(path: str) -> bytes:
    with storage.open_input(path) as raw, storage.explained(path, "read"):
        return raw.read(512)


def _tar_spots(key: str, file: FileInfo, seen: _Seen) -> Iterator[Spot]:
    """Yield the photographs among the members of a tar."""
    found, whole = _read_headers(key, file, seen.skipped)
    wanted = [column for column, _ in seen.columns.keep]
    endings = {name: name.removeprefix(f"{_stem(name)}.") for name in found}
    apart = {name for name, ending in endings.items() if ending in wanted}
    kept = _photographs({name: name for name in found if name not in apart}, seen, f"{key}!")
    stems = {_stem(name) for name in kept}
    kept |= _photographs({name: name for name in apart if _stem(name) not in stems}, seen, f"{key}!")
    if wanted:
        folders = seen.schemas[file.path].names
        texts = {ending for name, ending in endings.items() if name not in kept and _stem(name) in stems}
        seen.schemas[file.path] = pa.schema([(name, pa.string()) for name in sorted({*texts, *folders})])
    for name, spot in found.items():
        if name in kept:
            beside = (found.get(f"{_stem(name)}.{ending}", NOWHERE) for ending in wanted)
            yield spot._replace(sidecars=tuple(number for one in beside for number in (one.place, one.bytes)))
    if not whole:
        yield Spot(key, os.fsencode(file.path), NO_END, 0, 0)


def _read_headers(key: str, file: FileInfo, skipped: dict[str, int]) -> tuple[dict[str, Spot], bool]:
    """Return the regular members of a tar by name, in order, and whether it has its end.

    Nothing is extracted, and no name is used as a path. A hard link is the member before it that it names, as when it
    is unpacked.
    """
    found: dict[str, Spot] = {}
    places: dict[str, tuple[int, int]] = {}  # of all members so far, the hidden ones too
    path = os.fsencode(file.path)
    with (
        storage.open_input(file.path) as raw,
        storage.explained(file.path, "read"),
        tarfile.open(fileobj=raw, mode="r:", errors="surrogateescape", encoding="utf-8") as tar,
    ):
        for member in _members(tar):
            if member.isdir():
                continue
            name = _member_key(member.name)
            place: tuple[int, int] | None = (member.offset_data, member.size)
            if member.islnk():
                place = places.get(_member_key(member.linkname))
            if not place or not (member.isreg() or member.islnk()) or member.issparse():
                reason = list_files.LINK if member.issym() or member.islnk() else list_files.SPECIAL
                list_files.skip(skipped, reason, f"{key}!{name}")
                continue
            places[name] = place
            if any(part.startswith(".") and part not in (".", "..") for part in name.split("/")):
                list_files.skip(skipped, list_files.HIDDEN, f"{key}!{name}")
            else:
                if found.pop(name, None) is not None:
                    list_files.skip(skipped, REPLACED, f"{key}!{name}")
                found[name] = Spot(f"{key}!{name}", path, *place, 0)
        raw.seek(tar.offset)  # where a header or the end should be
        return found, raw.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _member_key(name: str) -> str:
    """Return the key of a member of a tar, which may have been made from within its folder.

    >>> _member_key("./2015/./w_1.jpg"), _member_key("../w_1.jpg"), _member_key("a./w_1.jpg")
    ('2015/w_1.jpg', '../w_1.jpg', 'a./w_1.jpg')
    """
    return file_keys([os.fsencode(HERE.sub("", name))])[0]


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members up to the end, or up to where a damaged tar can be read."""
    with contextlib.suppress(tarfile.TarError):
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps every header
            yield member


def _parquet_spots(key: str, file: FileInfo, seen: _Seen) -> Iterator[Spot]:
    """Yield the rows of a Parquet file; of its columns only the names, and the status of downloads, are read."""
    with open_parquet(file.path) as parquet:
        found = find_shard_columns(file.path, parquet.schema_arrow, seen.columns)
        if found is None and _stem(file.path) in seen.beside:
            list_files.skip(seen.skipped, NOT_INCLUDED if seen.include else NO_PHOTOGRAPH, key)
            return
        if found is None:
            there = ", ".join(parquet.schema_arrow.names[:20])
            raise DataError(f"{file.path} has no column of images' bytes; it has {there}; --bytes-column COL names one")
        if seen.columns.keep:
            _keep_columns(file.path, parquet.schema_arrow, seen)
        count, rows, values, places = 0, [], [], []
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, columns=[name for name in (found.name, found.status) if name])
            metadata = parquet.metadata.row_group(group)
            many, chunks = metadata.num_rows, (metadata.column(i) for i in range(metadata.num_columns))
            size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema == found.data) // max(many, 1)
            names = column_of(table, found.name).to_pylist() if found.name else [None] * many
            for row, (fetched, name) in enumerate(zip(found.fetched(table, many), names, strict=True)):
                if fetched:
                    rows.append(count + row)
                    values.append(name)
                    places.append((group << ROW_BITS | row, size, group + 1))
                else:
                    list_files.skip(seen.skipped, FAILED, f"{key}!row-{count + row}")
            count += many
    for (name, made), place in zip(row_names(values, rows), places, strict=True):
        if made:
            seen.unnamed = add_sightings(seen.unnamed, Sighting(1, f"{key}!{name}"))
        yield Spot(f"{key}!{name}", os.fsencode(file.path), *place)


def _keep_columns(path: str, schema: pa.Schema, seen: _Seen) -> None:
    """Add the columns of a Parquet file to those of its folders; it must have all that are carried."""
    own = pa.schema([plain_field(field) for field in schema])
    others = [field for field in seen.schemas[path] if field.name not in own.names]
    seen.schemas[path] = pa.schema([*own, *others])
    if missing := [column for column, _ in seen.columns.keep if column not in seen.schemas[path].names]:
        raise DataError(f"{path} lacks the column {missing[0]!r} of --keep; it has {', '.join(own.names[:20])}")


def row_names(values: Sequence[object], rows: Sequence[int]) -> list[tuple[str, bool]]:
    """Return a name for each row of a shard, all different, and whether it is made of the row's number.

    That is so where the value is null or empty, another row has the same, or it looks like such a name.

    >>> row_names(["a.jpg", None, "b.jpg", "b.jpg", 0], [0, 1, 3, 4, 5])
    [('a.jpg', False), ('row-1', True), ('row-3', True), ('row-4', True), ('0', False)]
    """
    texts = [
        value if isinstance(value, bytes) else b"" if value is None else str(value).encode("utf-8", "surrogatepass")
        for value in values
    ]
    times = Counter(texts)
    made = [not text or times[text] > 1 or bool(ROW.fullmatch(text)) for text in texts]
    own = iter(file_keys([text for text, is_made in zip(texts, made, strict=True) if not is_made]))
    return [(f"row-{row}" if is_made else next(own), is_made) for row, is_made in zip(rows, made, strict=True)]


def _check_keys(spots: Sequence[Spot]) -> None:
    seen: dict[str, bytes] = {}
    for spot in spots:
        if spot.key in seen:
            one, other = os.fsdecode(seen[spot.key]), os.fsdecode(spot.path)
            raise DataError(
                f"two images have the key {spot.key!r}, in {one!r} and {other!r}; give one --input that holds both, "
                f"such as {list_files.common_folder([one, other])}, or rename one: a key identifies one image"
            )
        seen[spot.key] = spot.path


# --- the listing as workers read it: a row group for each unit


def write_units(units: Units, path: str) -> None:
    """Write the listing to a Parquet file with one row group for each unit."""
    with storage.explained(path, "write"), storage.open_output(path) as file:
        writer = pq.ParquetWriter(file, LISTED, compression="zstd")
        for part in units.parts():
            writer.write_batch(part)
        writer.close()


def read_unit(path: str, number: int) -> pa.RecordBatch:
    """Return the images of one unit."""
    with storage.open_input(path) as file, storage.explained(path, "read"):
        return concat(pq.ParquetFile(file).read_row_group(number).to_batches(), LISTED)
