"""Stores without a network, or on the loopback interface: what is read, written, matched, refused and told."""

import contextlib
import os
import re
import sys
import threading
import warnings
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import example, given, settings
from hypothesis import strategies as st
from obstore.exceptions import BaseError
from obstore.store import MemoryStore

from molino import schemas
from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import accounts, hadoop, object_stores, objects, storage
from molino.transforms.files.list_files import glob_regex, list_files
from molino.transforms.parquet.shards import write_shard

PATHS = st.text("ab/.^!]-\\\n", max_size=6)
PATTERNS = st.text("ab/*?[]!^-\\.&~|\n", max_size=8)
VARIABLES = ("AWS_", "GOOGLE_", "MOLINO_S3_OPTIONS", "STORAGE_EMULATOR_HOST", "CLOUDSDK_CONFIG")
SECRET = "top-secret-key"


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    """No options, no account, no clients of earlier tests."""
    for name in [name for name in os.environ if name.startswith(VARIABLES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(accounts.VARIABLE, "{}")
    storage.use_options([])
    quick = {"max_retries": 5, "retry_timeout": timedelta(seconds=5)}
    monkeypatch.setattr(accounts, "RETRY", {**accounts.RETRY, **quick})
    for scheme in ("s3", "gs"):
        monkeypatch.setattr(object_stores.STORES[scheme], "_made", {})


@pytest.fixture
def memory(monkeypatch):
    """A bucket in memory, mem://mill."""
    bucket = MemoryStore()
    monkeypatch.setitem(object_stores.STORES, "mem", objects.Objects(lambda name, options: bucket))
    return bucket


# --- globs


@settings(max_examples=1000, deadline=None)
@given(PATTERNS, st.lists(PATHS, max_size=6))
def test_a_glob_is_that_of_beam(pattern, paths):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of a bracket in brackets, which Beam does not quote
        try:
            beam = re.compile(FileSystem.translate_pattern(pattern))
        except re.error:
            with pytest.raises(DataError, match="not a valid glob"):
                glob_regex(pattern)
            return
        if re.search(r"--|&&|~~|\|\|", pattern):
            return  # a set operation of some later Python, by Beam's pattern
        ours = glob_regex(pattern)
    assert [bool(ours.match(path)) for path in paths] == [bool(beam.match(path)) for path in paths]


@pytest.mark.parametrize(
    "pattern",
    ["*", "**", "*.txt", "**.txt", "a/*", "a/b.txt", "a.txt", "*/b*", "?.txt", "[ab].txt", "[!a].txt", ".*", "no*"],
)
def test_a_local_glob_finds_what_beam_finds(pattern, tmp_path, monkeypatch):
    for name in ("a.txt", "b.txt", ".hidden.txt", "a/b.txt", "a/.h/x.txt", "b/c/d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    told = FileSystems.match([f"{tmp_path}/{pattern}"])[0].metadata_list
    files = {m.path: m for m in told if not os.path.isdir(m.path)}
    expected = sorted((m.path, m.size_in_bytes, m.last_updated_in_seconds) for m in files.values())
    if not pattern.startswith("."):  # unlike Beam's, and as a shell's
        expected = [file for file in expected if "/." not in file[0].removeprefix(str(tmp_path))]
    for asked in (f"{tmp_path}/{pattern}", pattern):
        assert sorted((f.path, f.bytes, f.modified) for f in list_files(asked).files) == expected


@pytest.mark.parametrize(
    "path", ["gs://b/c", "S3://b/c", "a+b://c", "C:\\x", "c:/x", "://x", "1s3://b", "/a://b", "s3:/b"]
)
def test_a_scheme_is_that_of_beam(path):
    assert (object_stores.scheme_of(path) or None) == FileSystems.get_scheme(path)


def test_a_glob_in_a_store(memory):
    for name in ("in/a.txt", "in/b.txt", "in/deep/a.txt", "inner/a.txt", "in/é #%?+.txt"):
        storage.write_bytes(f"mem://mill/{name}", b"1")

    def names(pattern):
        return [file.path.removeprefix("mem://mill/") for file in list_files(f"mem://mill/{pattern}").files]

    assert names("in/[ab].txt") == ["in/a.txt", "in/b.txt"]
    assert names("in/a*") == ["in/a.txt"]
    assert names("i*/a.txt") == ["in/a.txt", "inner/a.txt"]
    assert names("in/**a.txt") == ["in/a.txt", "in/deep/a.txt"]
    assert names("in/*") == ["in/a.txt", "in/b.txt", "in/é #%?+.txt"]
    assert names("in") == names("in/") == ["in/a.txt", "in/b.txt", "in/deep/a.txt", "in/é #%?+.txt"]
    assert names("in/é #%?+.txt") == ["in/é #%?+.txt"]
    assert len(names("**")) == 5


# --- objects


def write_half(path, data):
    with storage.open_output(path) as file:
        file.write(data)
        raise KeyError


def test_an_object_is_written_moved_and_deleted(memory):
    storage.write_bytes("mem://mill/a", b"1")
    for _ in range(2):
        storage.move("mem://mill/a", "mem://mill/b/c", size=1)
    assert storage.read_bytes("mem://mill/b/c") == b"1"
    storage.copy("mem://mill/b/c", "mem://mill/b/d")
    assert [file.bytes for file in storage.list_tree("mem://mill/b")] == [1, 1]
    with pytest.raises(DataError, match="cannot write mem://mill/e: there is no such file"):
        storage.move("mem://mill/d", "mem://mill/e", size=1)
    storage.delete_tree("mem://mill/b")
    storage.delete_file("mem://mill/b/c")
    assert storage.list_tree("mem://mill") == []


@pytest.mark.parametrize("size", [1, 3 * objects.PART])
def test_an_exception_leaves_no_object(size, memory):
    with pytest.raises(KeyError):
        write_half("mem://mill/a", bytes(size))
    assert storage.list_tree("mem://mill") == []
    with storage.open_output("mem://mill/a") as file:
        file.write(bytes(size))
        assert not storage.exists("mem://mill/a")
    assert storage.list_tree("mem://mill")[0].bytes == size
    with pytest.raises(OSError, match="closed"):
        file.write(b"1")


def test_a_shard_whose_rows_fail_leaves_no_object(memory):
    def rows():
        yield pa.RecordBatch.from_pydict({"n": [1]})
        raise KeyError

    schema = schemas.schema("x", 1, pa.field("n", pa.int64(), nullable=False))
    with pytest.raises(DataError):
        write_shard(rows(), schema=schema, folder="mem://mill/out", dataset="x")
    assert storage.list_tree("mem://mill") == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(-1100, 1100), st.integers(-1, 400)), max_size=20), st.sampled_from([0, 1, 1000]))
@example([(-1, 100)] * 12, 1000)
@example([(-1, 70), (-1, 1)] * 8, 1000)
def test_any_range_is_read_as_from_bytes(asked, length):
    data, client = os.urandom(length), MemoryStore()
    client.put("a", data)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("READ_FIRST", 16), ("READ_MOST", 64)):
            patch.setattr(objects, name, value)
        file, place = objects.Objects(lambda *_: client).open("mem://mill/a"), 0
        assert file.size() == length
        for at, count in asked:
            if at >= 0:
                place = min(at, length)
                file.seek(at)
            expected = data[place:] if count < 0 else data[place : place + count]
            assert file.read(None if count < 0 else count) == expected
            place += len(expected)
            assert file.tell() == place


class Counted:
    """A client that counts what is asked of it."""

    def __init__(self, bucket):
        self.bucket, self.ranges = bucket, []

    def get(self, name, options):
        self.ranges.append(options["range"])
        return self.bucket.get(name, options=options)


def test_a_small_file_is_one_request_and_of_a_large_one_only_what_is_asked_for(memory, monkeypatch):
    counted = Counted(memory)
    monkeypatch.setitem(object_stores.STORES, "mem", objects.Objects(lambda *_: counted))
    table = pa.table(
        {name: os.urandom(1 << 20) and pa.array(memoryview(os.urandom(8 << 20)).cast("q")) for name in "abc"}
    )
    pq.write_table(table, path := pa.BufferOutputStream(), compression="none", use_dictionary=False)
    memory.put("large", path.getvalue().to_pybytes())
    memory.put("small", b"1" * 1000)
    with storage.open_input("mem://mill/small") as file:
        assert file.read() == b"1" * 1000
    assert len(counted.ranges) == 1
    counted.ranges.clear()
    with storage.open_input("mem://mill/large") as file:
        assert pq.ParquetFile(file).read(["b"]) == table.select(["b"])
    assert sum(end - start for start, end in counted.ranges) < 9.5 * (1 << 20)
    counted.ranges.clear()
    storage.hash_file("mem://mill/large")
    assert len(counted.ranges) < 10


def test_a_file_that_is_replaced_while_it_is_read_is_an_error(memory):
    data = bytes(3 * objects.READ_FIRST)
    memory.put("a", data)
    with storage.open_input("mem://mill/a") as file, storage.explained("mem://mill/a", "read"):
        file.read(10)
        memory.put("a", data)
        with pytest.raises(DataError, match="precondition"), storage.explained("mem://mill/a", "read"):
            file.read()


class Faulty:
    """A bucket whose writes meet what a list says: "lost" on the way there, "answer lost", or a status; "" is none.

    What is None in the list is done by `meanwhile`, before the write.
    """

    def __init__(self, bucket, faults, meanwhile=None):
        self.bucket, self.faults, self.meanwhile = bucket, list(faults), meanwhile

    def put(self, name, data, **how):
        fault = self.faults.pop(0) if self.faults else ""
        if fault is None:
            self.meanwhile()
        if fault and fault[0].isdigit():
            raise BaseError(f"status code: {fault} Somehow: ")
        if fault == "lost":
            raise BaseError("error sending request")
        done = self.bucket.put(name, data, **how)
        if fault == "answer lost":
            raise BaseError("error sending request")
        return done

    def get(self, name, **how):
        return self.bucket.get(name, **how)


FAULTS = [
    ["409"],
    ["412"],
    ["400 RequestTimeout"],
    ["503", "503"],
    ["lost"],
    ["answer lost"],
    ["409", "answer lost"],
    ["lost", "503", "409"],
]


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(objects, "PAUSES", (0.0,) * len(objects.PAUSES))


@pytest.mark.parametrize("faults", FAULTS, ids=" ".join)
@pytest.mark.parametrize("held", [None, b"0"], ids=["new", "replaced"])
def test_a_conditional_write_lands_once_whatever_the_answer(held, faults, memory, hasty):
    if held:
        memory.put("a", held)
    bucket = Faulty(memory, faults)
    store = objects.Objects(lambda *_: bucket)
    seen = store.see("mem://mill/a")
    assert seen.data == held
    now = store.swap("mem://mill/a", b"1", seen)
    assert now == store.see("mem://mill/a")
    assert (now.data, bucket.faults) == (b"1", [])
    assert store.swap("mem://mill/a", b"2", now).data == b"2"


@pytest.mark.parametrize("faults", [[None], ["409", None], ["lost", None], ["503", None]], ids=str)
@pytest.mark.parametrize("held", [None, b"0"], ids=["new", "replaced"])
def test_a_conditional_write_gives_way_to_a_rival(held, faults, memory, hasty):
    if held:
        memory.put("a", held)
    store = objects.Objects(lambda *_: Faulty(memory, faults, lambda: memory.put("a", b"rival")))
    assert store.swap("mem://mill/a", b"1", store.see("mem://mill/a")) is None
    assert memory.get("a").bytes() == b"rival"


def test_a_store_that_takes_no_write_is_told(memory, hasty):
    memory.put("a", b"0")
    store = objects.Objects(lambda *_: Faulty(memory, ["503"] * 9))
    with pytest.raises(BaseError, match="503"):
        store.swap("mem://mill/a", b"1", store.see("mem://mill/a"))
    assert memory.get("a").bytes() == b"0"


def test_an_object_that_stands_for_its_content_is_not_written_again(memory):
    memory.put("staged", b"1")
    memory.put("final", b"1")
    before = memory.head("final")
    storage.move("mem://mill/staged", "mem://mill/final", size=1)
    assert memory.head("final") == before
    assert [file.path for file in storage.list_tree("mem://mill")] == ["mem://mill/final"]


def test_what_is_too_large_for_a_copy_is_sent_again():
    class Small(MemoryStore):
        def copy(self, source, target):
            raise BaseError(f"The specified copy source is {objects.TOO_LARGE}: 5368709120")

    bucket = Small()
    store = objects.Objects(lambda *_: bucket)
    store.put("mem://mill/a", b"123")
    store.move("mem://mill/a", "mem://mill/b")
    assert [found["path"] for found in bucket.list().collect()] == ["b"]
    assert bucket.get("b").bytes() == b"123"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_is_told_and_does_not_hang(memory, monkeypatch):
    monkeypatch.setattr(objects, "_user", 1)
    with pytest.raises(DataError, match="forked"):
        storage.exists("mem://mill/a")


# --- folders of Arrow, as Hadoop's


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A file system of Arrow's, tree://host."""
    (tmp_path / "tree").mkdir()
    files = pafs.SubTreeFileSystem(str(tmp_path / "tree"), pafs.LocalFileSystem())
    monkeypatch.setitem(object_stores.STORES, "tree", hadoop.Folders(lambda root: files))
    return tmp_path / "tree"


def test_the_folders_of_arrow(tree):
    root = "tree://host:8020/a b"
    assert not storage.exists(f"{root}/1")
    none = storage.see(f"{root}/1")
    assert (none.data, storage.swap(f"{root}/1", b"1", none).data) == (None, b"1")
    assert storage.swap(f"{root}/1", b"2", none) is None
    with pytest.raises(objects.UnsupportedError):
        storage.swap(f"{root}/1", b"2", storage.see(f"{root}/1"), strict=True)
    storage.write_atomic(f"{root}/1", b"one")
    with storage.open_output(f"{root}/c/2") as file:
        file.write(b"two")
        assert not storage.exists(f"{root}/c/2")
    with pytest.raises(KeyError):
        write_half(f"{root}/c/3", b"three")
    assert [(f.path, f.bytes) for f in storage.list_tree(root)] == [(f"{root}/1", 3), (f"{root}/c/2", 3)]
    assert [f.path for f in list_files(f"{root}/*").files] == [f"{root}/1"]
    assert list_files(f"{root}/1").files[0].modified == pytest.approx((tree / "a b/1").stat().st_mtime, abs=1e-3)
    assert storage.hash_file(f"{root}/1")[0] == 3
    for _ in range(2):
        storage.move(f"{root}/1", f"{root}/d/1", size=3)
    assert storage.read_bytes(f"{root}/d/1") == b"one"
    storage.copy(f"{root}/d/1", f"{root}/e/1")
    assert storage.read_bytes(f"{root}/e/1") == storage.read_bytes(f"{root}/d/1")
    storage.delete_file(f"{root}/none")
    storage.delete_tree(root)
    assert storage.list_tree(root) == []
    assert storage.list_tree("tree://host:8020/none") == []
    with pytest.raises(DataError, match="cannot read tree://host:8020/none"):
        storage.open_input("tree://host:8020/none")


def test_hadoop_without_its_client(monkeypatch):
    def refuse(uri):
        raise OSError("Unable to load libjvm\ndlopen(/usr/lib/jvm/libjvm.so) failed")

    monkeypatch.setattr(pafs, "FileSystem", SimpleNamespace(from_uri=refuse))
    with pytest.raises(DataError, match=r"Hadoop's client .* not found: install Java and Hadoop, and set JAVA_HOME"):
        storage.exists("hdfs://name-without-client:8020/a")


# --- options and accounts


def test_options_are_read_from_a_command_line(monkeypatch):
    words = [
        "--s3_endpoint_url=http://h:1",
        "--runner",
        "X",
        "--s3_region_name",
        "eu",
        "--s3_disable_ssl",
        "--s3_ver",
        "x",
    ]
    monkeypatch.setenv(accounts.VARIABLE, "{}")
    storage.use_options(words)
    known = {"s3_endpoint_url": "http://h:1", "s3_region_name": "eu", "s3_disable_ssl": "yes"}
    assert accounts.known_options() == known
    with pytest.raises(OptionError, match="s3_region_name"):
        storage.use_options(["--s3_region_name"])


def test_a_worker_takes_the_options_that_beam_was_told(monkeypatch):
    monkeypatch.setattr(accounts, "_given", None)
    told = PipelineOptions(["--s3_endpoint_url=http://h:1", "--s3_access_key_id", "a", "--s3_disable_ssl"])
    monkeypatch.setattr(FileSystems, "_pipeline_options", told)
    known = {"s3_access_key_id": "a", "s3_endpoint_url": "http://h:1", "s3_disable_ssl": "True"}
    assert accounts.known_options() == known
    monkeypatch.delitem(sys.modules, "apache_beam.io.filesystems")
    assert accounts.known_options() == {}
    monkeypatch.setenv(accounts.VARIABLE, "{}")
    storage.use_options(["--s3_region_name=eu"])
    monkeypatch.setattr(accounts, "_given", None)
    assert accounts.known_options() == {"s3_region_name": "eu"}


@pytest.mark.parametrize("given", ["profile", "file"])
def test_a_profile_without_boto3_is_told(given, tmp_path, monkeypatch):
    if given == "profile":
        monkeypatch.setenv("AWS_PROFILE", "mill")
    else:
        (tmp_path / ".aws").mkdir()
        (tmp_path / ".aws/credentials").write_text("[default]")
    monkeypatch.setattr(accounts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"is read by boto3: pip install -r requirements/aws\.txt; or give AWS_ACCESS"):
        storage.exists("s3://mill/a")


def test_a_user_without_a_home_has_no_files_of_accounts(tmp_path, monkeypatch):
    """Not even where a folder is named ~."""
    for name in (".aws", ".config/gcloud"):
        (tmp_path / "~" / name).mkdir(parents=True)
    (tmp_path / "~/.aws/credentials").write_text("[default]")
    (tmp_path / "~/.config/gcloud/application_default_credentials.json").write_text('{"type": "external_account"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(accounts, "read_federated", lambda *_: pytest.fail("it was read"))
    monkeypatch.setattr(accounts, "GCSStore", lambda bucket, **how: how)
    assert accounts.find_profile() is None
    assert "application_credentials" not in accounts.connect_gs("mill", {})


def test_an_account_that_only_googles_library_reads_is_told(tmp_path, monkeypatch):
    (tmp_path / "key.json").write_text('{"type": "external_account"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(DataError, match=r"of the kind external_account, .*requirements/dataflow\.txt"):
        storage.exists("gs://mill/a")
    (tmp_path / "key.json").unlink()
    with pytest.raises(DataError, match=r"there is no file .*key\.json, which GOOGLE_APPLICATION_CREDENTIALS names"):
        storage.exists("gs://mill/a")


# --- errors


@contextlib.contextmanager
def answering(*answers):
    """Answer requests with these (status, body), the last one again and again; give the URL and the requests.

    501 is the answer to a condition alone; without one there is no such object.
    """
    asked, left = [], list(answers)

    class Answer(BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, dict(self.headers)))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            if status == 501 and not self.headers.get("If-None-Match"):
                status, body = 200 if self.command == "PUT" else 404, ""
            self.send_response(status)
            for name, value in {"Content-Length": len(body), "ETag": '"1"'}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_GET = do_HEAD = do_POST = do_DELETE = do_PUT  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def s3_at(url):
    keys = {"s3_access_key_id": "made", "s3_secret_access_key": SECRET}
    return [f"--{name}={value}" for name, value in {"s3_endpoint_url": url, **keys}.items()]


def body(code, message="so it is"):
    return f"<Error><Code>{code}</Code><Message>{message}</Message><X>{SECRET}</X></Error>"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "InvalidAccessKeyId", "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --s3_access_key_id"),
        (403, "SignatureDoesNotMatch", "the secret key is not that of the access key"),
        (403, "AccessDenied", "the keys do not allow it; check them and the bucket's policy"),
        (404, "NoSuchBucket", "there is no such bucket; make it, or check the name"),
        (301, "PermanentRedirect", "give the bucket's region"),
        (400, "AuthorizationHeaderMalformed", "give the bucket's region"),
        (503, "SlowDown", "the store asks for fewer requests"),
    ],
)
@pytest.mark.parametrize("verb", ["read", "write", "list"])
def test_what_s3_refuses_is_told_in_one_line(verb, status, code, remedy, monkeypatch):
    path = "s3://mill/a/b"
    with answering((status, body(code))) as (url, _):
        storage.use_options(s3_at(url))
        with pytest.raises(DataError, match=rf"cannot {verb} {path}.*{re.escape(remedy)}") as raised:
            {"read": storage.read_bytes, "list": storage.list_tree}.get(verb, lambda p: storage.write_bytes(p, b""))(
                path
            )
    assert "\n" not in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_store_that_throttles_is_asked_again(monkeypatch):
    with answering((503, body("SlowDown")), (500, body("InternalError")), (200, "data")) as (url, asked):
        storage.use_options(s3_at(url))
        storage.write_bytes("s3://mill/a", b"1")
    assert len(asked) == 3


@pytest.mark.slow
def test_a_store_without_conditions_is_written_plainly(monkeypatch):
    with answering((501, body("NotImplemented"))) as (url, asked):
        storage.use_options(s3_at(url))
        written = storage.swap("s3://mill/a", b"1", objects.Snapshot(None))
        with pytest.raises(objects.UnsupportedError):
            storage.swap("s3://mill/a", b"2", objects.Snapshot(None), strict=True)
    assert written == objects.Snapshot(b"1")  # without a version: it was written plainly
    told = [(command, headers.get("if-none-match")) for command, _, headers in asked]
    assert list(dict.fromkeys(told)) == [("PUT", "*"), ("GET", None), ("PUT", None)]
    assert [command for command, condition in told[told.index(("PUT", None)) :]] == ["PUT"]  # it is asked once for all


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_where_there_is_no_server(scheme, monkeypatch):
    with answering((200, "")) as (url, _):
        pass
    storage.use_options(s3_at(url))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    with pytest.raises(DataError, match=r"error sending request; check .*the network"):
        storage.read_bytes(f"{scheme}://mill/a")


@pytest.mark.parametrize(("scheme", "remedy"), [("s3", "give AWS_ACCESS_KEY_ID"), ("gs", "run gcloud auth")])
def test_where_there_is_no_account(scheme, remedy, memory, monkeypatch):
    place = "http://169.254.169.254/latest/api/token" if scheme == "s3" else "http://metadata/computeMetadata/v1"

    class Nobody:
        def get(self, name):
            raise BaseError(f"Error performing PUT {place} in 1.2ms - HTTP error: error sending request")

    monkeypatch.setitem(object_stores.STORES, scheme, objects.Objects(lambda *_: Nobody()))
    with pytest.raises(DataError, match=f"no account is known here; {remedy}"):
        storage.read_bytes(f"{scheme}://mill/a")


@pytest.mark.parametrize("name", ["a//b", "/a", "a/", "./a", "a/../b", "a\tb"])
def test_a_name_that_the_client_cannot_say_is_told(name):
    storage.use_options(s3_at("http://127.0.0.1:9"))
    with pytest.raises(DataError, match="its client reaches no object whose name has an empty part"):
        storage.write_bytes(f"s3://mill/{name}", b"")


@pytest.mark.parametrize("error", ["http://key:hidden@h:1/mill/a", "https://key:hidden@h/mill/a"])
def test_a_password_in_an_endpoint_is_not_told(error):
    told = objects.cause_of(OSError(f"Error performing GET {error} in 12.5ms - HTTP error: builder error"))
    assert "hidden" not in told
    assert "12.5ms" not in told
