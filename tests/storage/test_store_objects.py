"""Objects of S3 and Cloud Storage: their names, uploads that fail, conditions, and what a store refuses."""

import json

import pytest

from molino.transforms.names.sample import sample_names

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]
NAMES = [
    "a b",
    "a#b",
    "a%b",
    "a%20b",
    "a?b",
    "a+b",
    "a&b=c",
    "ñ",
    "日本",
    "a*b",
    "[1]",
    "a~b",
    "a\\\\b",
    "a'b",
    'a"b',
    "a:b;c@d,e!$()",
]
# what one client writes the other lists and reads, by the very name
ROUND = """
import json, sys
import boto3
from molino.transforms.files import storage
other, folder = boto3.client("s3"), "s3://mill/names"
for name in json.loads(sys.argv[1]):
    storage.write_bytes(f"{folder}/1/{name}", b"ours")
    other.put_object(Bucket="mill", Key=f"names/2/{name}/{name}", Body=b"theirs")
    told = [found["Key"] for found in other.list_objects_v2(Bucket="mill", Prefix="names/")["Contents"]]
    assert told == [f"names/1/{name}", f"names/2/{name}/{name}"], told
    assert other.get_object(Bucket="mill", Key=told[0])["Body"].read() == b"ours"
    listed = storage.list_tree(folder)
    assert [file.path for file in listed] == [f"s3://mill/{key}" for key in told], listed
    assert [storage.read_bytes(file.path) for file in listed] == [b"ours", b"theirs"]
    for file in listed:
        with storage.open_input(file.path) as data:
            assert len(data.read()) == file.bytes
        assert storage.exists(file.path)
        storage.move(file.path, f"{folder}/3/{name}", size=file.bytes)
    storage.delete_file(f"{folder}/3/{name}")
    assert storage.list_tree(folder) == []
# marks of folders are no files; what the client cannot say is told
other.put_object(Bucket="mill", Key="marks/", Body=b"")
other.put_object(Bucket="mill", Key="marks/deep/", Body=b"")
other.put_object(Bucket="mill", Key="marks/deep/empty", Body=b"")
assert [file.path for file in storage.list_tree("s3://mill/marks")] == ["s3://mill/marks/deep/empty"]
other.put_object(Bucket="mill", Key="marks/a//b", Body=b"")
try:
    storage.list_tree("s3://mill/marks")
except Exception as error:
    assert "its client reaches no object whose name has an empty part" in str(error), error
else:
    raise AssertionError
"""
UPLOADS = """
import sys
from molino.transforms.files import object_stores, objects
from molino.transforms.files import storage
def write(path, fail):
    with storage.open_output(path) as file:
        for _ in range(5):
            file.write(bytes(objects.PART))
        assert not storage.exists(path)
        if fail:
            raise KeyError
for size in (1, 2):
    try:
        write(f"{sys.argv[1]}/half", True)
    except KeyError:
        pass
write(f"{sys.argv[1]}/whole", False)
assert [(f.path, f.bytes) for f in storage.list_tree(sys.argv[1])] == [(f"{sys.argv[1]}/whole", 5 * objects.PART)]
assert storage.hash_file(f"{sys.argv[1]}/whole")[0] == 5 * objects.PART
if sys.argv[1].startswith("s3"):
    import boto3
    assert "Uploads" not in boto3.client("s3").list_multipart_uploads(Bucket="mill")
"""
# the client offers to replace an object only where it is the one that was seen
REPLACES = """
import sys
from obstore.exceptions import PreconditionError
from molino.transforms.files import object_stores, objects
from molino.transforms.files import storage
path = sys.argv[1]
store = object_stores.store_of(path)
store.put(path, b"1")
client, name = store.client(path)
seen = client.head(name)
state = {key: seen[key] for key in ("e_tag", "version") if seen[key]}
client.put(name, b"2", mode=state)
try:
    client.put(name, b"3", mode=state)
except PreconditionError:
    print(storage.read_bytes(path).decode())
"""
TOLD = """
import sys
from molino.transforms.files import storage
storage.use_options(sys.argv[2:])
for ask in (storage.read_bytes, storage.list_tree, lambda path: storage.write_bytes(path, b"")):
    try:
        ask(sys.argv[1])
    except Exception as error:
        print(error)
"""


@pytest.fixture(scope="module")
def store(empty_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("payroll")
    sample_names(str(folder / "sep.txt"), rows=2000)
    empty_store.fill(folder)
    return empty_store


def test_names_are_those_that_others_see(store):
    if store.scheme != "s3":
        pytest.skip("there is no other client of the stand-in")
    code, _, wrong = store.run(ROUND, json.dumps(NAMES))
    assert code == 0, wrong


def test_an_upload_that_fails_leaves_nothing(store):
    code, _, wrong = store.run(UPLOADS, store.url("uploads"))
    assert code == 0, wrong


def test_an_object_is_replaced_only_where_it_is_the_one_that_was_seen(store):
    code, out, wrong = store.run(REPLACES, store.url("seen"))
    assert code == 0, wrong
    assert out == "2\n"


def test_a_bucket_that_is_not_there_is_told(store):
    code, out, wrong = store.run(TOLD, f"{store.scheme}://nobody/a")
    assert code == 0, wrong
    lines = out.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("there is no such bucket; make it, or check the name") for line in lines), lines


def test_worker_processes_have_the_options_of_the_command_line(store):
    if store.scheme != "s3":
        pytest.skip("there are no options of Cloud Storage")
    flags = [f"--s3_endpoint_url={store.environment['AWS_ENDPOINT_URL']}", "--s3_region_name", "us-east-1"]
    flags += ["--s3_access_key_id", "made", "--s3_secret_access_key", "up"]
    words = ["--input", store.url("in/sep.txt"), "--output", store.url("processes"), "--quiet", "--workers", "2"]
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    code, _, wrong = store.molino("names", *words, "--worker-mode", "processes", *flags, **nowhere)
    assert code == 0, wrong
    assert store.manifest("processes")["counters"]
