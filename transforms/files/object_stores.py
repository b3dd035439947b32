"""S3, Cloud Storage and Hadoop: what is asked of them, and their clients.

A store is asked for whole objects in one request each, for ranges of them, and to write on a condition. A client is
made once for a bucket and a process, and keeps its connections.
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.util
import json
import os
import posixpath
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import IO, Any, Protocol

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import GCSStore, S3Store

from molino.transforms.errors import DataError, OptionError

SCHEME = re.compile(r"([a-zA-Z][-a-zA-Z0-9+.]*)://")
READ_FIRST, READ_MOST = (
    1 << 18,
    1 << 24,
)  # bytes of a request, where fewer are asked for: one after the other doubles it
PART, PARTS_AT_ONCE = 8 << 20, 4  # of an upload, whose memory they are
UNSUPPORTED = ("400", "405", "501")  # HTTP: no such condition is known
TRIES = 3
# A store that throttles or restarts is asked again for half a minute, with pauses of up to 5 seconds; a runner repeats
# the bundle after that. Where there is no server or no account, so long is what a user waits for the error; obstore's
# own limit is three minutes.
RETRY: Any = {
    "max_retries": 100,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 3},
}
# A request may be long, for it may be of a large range; what must not be is that nothing comes.
PATIENCE: Any = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "30m"}
VARIABLE = "MOLINO_S3_OPTIONS"
S3_OPTIONS = ("access_key_id", "secret_access_key", "session_token", "endpoint_url", "region_name", "verify")
LISTED = 1000  # objects at once, as many as an answer has
TOO_LARGE = "larger than the maximum allowable size for a copy source"  # for S3, which copies 5 GB in one request
S3_KEYS = "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --s3_access_key_id and --s3_secret_access_key"
NO_ACCOUNT = "no account is known here"
ACCOUNTS_OF_MACHINES = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "computeMetadata")  # asked last
# kinds of a file with a Google account that obstore reads by itself
PLAIN_ACCOUNTS = ("service_account", "authorized_user")
NO_HADOOP = (
    "hdfs:// needs Hadoop's client on this machine, which was not found: install Java and Hadoop, and set JAVA_HOME, "
    'HADOOP_HOME and CLASSPATH="$(hadoop classpath --glob)"'
)


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """A file as listed: path, size in bytes, time of the last change in seconds since 1970 (0 where unknown)."""

    path: str
    bytes: int
    modified: float


class ObjectStore(Protocol):
    """What a store can do."""

    def get(self, path: str) -> bytes:
        """Return an object as it is at one moment, even while it is replaced."""

    def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write an object; a `new` one only where there is none, in one step. Return whether it was written.

        An answer that is lost on the way can make this writer's own object look like another's: read it back.

        Raises:
          UnsupportedError: the store knows no such condition.
        """

    def move(self, source: str, target: str) -> None:
        """Give an object of any size another name."""

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error."""

    def look(self, path: str) -> FileInfo | None:
        """Return what is known of an object, None where there is none."""

    def find(self, prefix: str) -> Iterator[FileInfo]:
        """Yield all objects whose paths begin so."""

    def open(self, path: str) -> pa.NativeFile:
        """Open an object for random access: only what is asked for is fetched."""

    def create(self, path: str) -> IO[bytes]:
        """Open a new object for writing. It shows when it is closed; an exception in a `with` leaves none."""


class UnsupportedError(Exception):
    """The store knows no conditional writes."""


class Objects:
    """A store that obstore has a client for.

    Args:
      connect: makes the client of a bucket from the options of the command line.
    """

    def __init__(self, connect: Callable[[str, Mapping[str, str]], Any]):
        self._connect = connect
        self._made: dict[Any, Any] = {}

    def client(self, path: str) -> tuple[Any, str]:
        """Return the client of a path's bucket, and the object's name."""
        _refuse_fork()
        bucket, _, name = path.partition("://")[2].partition("/")
        options = _options()
        known = (bucket, *options.items())
        made = self._made.get(known) or self._made.setdefault(known, self._connect(bucket, options))
        if name != name.strip("/"):
            raise OSError("empty path segment in its name")  # the client would take it for another name
        return made, name

    def get(self, path: str) -> bytes:
        client, name = self.client(path)
        return bytes(client.get(name).bytes())

    def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        client, name = self.client(path)
        for left in reversed(range(TRIES)):
            try:
                client.put(name, data, mode="create" if new else "overwrite", use_multipart=False)
                return True
            except AlreadyExistsError:
                # S3 says 409 to writers of the same moment too, of whom none need have written
                if self.look(path):
                    return False
                if not left:
                    raise
            except BaseError as error:
                if new and cause_of(error).startswith(UNSUPPORTED):
                    raise UnsupportedError(cause_of(error)) from error
                raise
        return False

    def move(self, source: str, target: str) -> None:
        (client, name), (other, to) = self.client(source), self.client(target)
        try:
            if client is not other:
                raise OSError(TOO_LARGE)
            client.copy(name, to)
        except (OSError, BaseError) as error:
            if TOO_LARGE not in str(error):
                raise
            with self.open(source) as file, self.create(target) as copy:
                shutil.copyfileobj(file, copy, READ_MOST)
        self.delete([source])

    def delete(self, paths: Sequence[str]) -> None:
        client, names = self.client(paths[0])[0], [self.client(path)[1] for path in paths]
        try:
            client.delete(names if len(names) > 1 else names[0])
        except FileNotFoundError:  # Cloud Storage says so, and may have left others
            for name in names if len(names) > 1 else ():
                with contextlib.suppress(FileNotFoundError):
                    client.delete(name)

    def look(self, path: str) -> FileInfo | None:
        if path.endswith("/"):
            return None
        client, name = self.client(path)
        with contextlib.suppress(FileNotFoundError):
            if name:
                return _info(path, client.head(name))
        return None

    def find(self, prefix: str) -> Iterator[FileInfo]:
        bucket, _, begin = prefix.partition("://")[2].partition("/")
        root = f"{prefix.partition('://')[0]}://{bucket}/"
        client, _ = self.client(root)
        folder = begin.rpartition("/")[0]
        if folder.startswith("/"):
            raise OSError("empty path segment in its name")
        # the client lists folders: what comes before is passed over, what comes after is not waited for
        offset = begin[:-1] or None if not begin.endswith("/") else None
        for chunk in client.list(folder or None, offset=offset, chunk_size=LISTED):
            for found in chunk:
                path = root + found["path"]
                if path.startswith(prefix):
                    # an empty object may be the mark of a folder, "a/", which the client shows as "a": it is no file
                    info = _info(path, found) if found["size"] else self.look(path)
                    if info and info.bytes == found["size"]:
                        yield info
            if offset and chunk and chunk[-1]["path"] > begin and not chunk[-1]["path"].startswith(begin):
                return

    def open(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_Reader(self, path), mode="r")

    def create(self, path: str) -> Any:
        client, name = self.client(path)
        made = obstore.open_writer(client, name, buffer_size=PART, max_concurrency=PARTS_AT_ONCE)
        return _Writer(made, made.close, lambda error: made.__exit__(type(error), error, None))


class _Reader:
    """An object as a file: read in ranges, and all of them of the object that it was when it was opened.

    The first request is for the first bytes, which are all that a small file has. Memory: one range.
    """

    closed = False

    def __init__(self, store: Objects, path: str):
        self.client, self.name = store.client(path)
        self.at, self.begin, self.ahead, self.state = 0, 0, READ_FIRST, {}
        self.held: Any = b""
        try:
            first = self.client.get(self.name, options={"range": (0, READ_FIRST)})
            self.length, tag = first.meta["size"], first.meta["e_tag"]
            self.state = {"if_match": tag} if tag else {}
            self.held = first.bytes()
        except FileNotFoundError:
            raise
        except (BaseError, ValueError):  # an empty object has no first bytes
            found = store.look(path)
            if found is None or found.bytes:
                raise
            self.length = 0

    def read(self, size: int | None = None) -> memoryview:
        start = self.at
        end = self.length if size is None or size < 0 else min(start + size, self.length)
        if start >= end:
            return memoryview(b"")
        if start < self.begin or end > self.begin + len(self.held):
            self._fetch(start, end)
        self.at = end
        piece = memoryview(self.held)[start - self.begin : end - self.begin]
        if len(self.held) > READ_MOST:
            self.held, self.begin = b"", end
        return piece

    def _fetch(self, start: int, end: int) -> None:
        last = self.begin + len(self.held)
        kept = memoryview(self.held)[start - self.begin :] if self.begin <= start <= last else b""
        self.ahead = min(2 * self.ahead, READ_MOST) if self.begin <= start <= last else READ_FIRST
        begin = start + len(kept)
        until = min(max(end, begin + self.ahead), self.length)
        self.held, self.begin = b"", start
        if begin < until:
            made = self.client.get(self.name, options={"range": (begin, until), **self.state}).bytes()
            self.held = b"".join([kept, made]) if kept else made

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = min(offset + (0, self.at, self.length)[whence], self.length)
        return self.at

    def tell(self) -> int:
        return self.at

    def size(self) -> int:
        return self.length

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed, self.held = True, b""


class _Writer:
    """An object on its way: there when it is closed, and not at all after an exception in a `with`."""

    closed = False

    def __init__(self, file: Any, finish: Callable[[], None], abandon: Callable[[BaseException], object]):
        self.file, self.finish, self.abandon, self.at = file, finish, abandon, 0

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")
        self.file.write(view)
        self.at += len(view)
        return len(view)

    def flush(self) -> None:
        """Do nothing: nobody sees the object before it is closed."""

    def tell(self) -> int:
        return self.at

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.finish()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            self.close()
        elif not self.closed:
            self.closed = True
            with contextlib.suppress(Exception):  # what was raised first is what is told
                self.abandon(error)


class Folders:
    """A file system of Arrow's, by default Hadoop's, by the client that this machine has.

    It knows no conditional writes. A file is written beside its place and renamed.
    """

    def __init__(self, connect: Callable[[str], Any]):
        self._connect = functools.cache(connect)

    def _split(self, path: str) -> tuple[Any, str, str]:
        """Return the file system, what its paths are below, and the path there."""
        root = "/".join(path.split("/", 3)[:3])
        return self._connect(root), root, path[len(root) :] or "/"

    def get(self, path: str) -> bytes:
        with self.open(path) as file:
            return file.read()

    def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        if new:
            raise UnsupportedError("no conditional writes")
        with self.create(path) as file:
            file.write(data)
        return True

    def move(self, source: str, target: str) -> None:
        (files, _, name), (_, _, to) = self._split(source), self._split(target)
        files.create_dir(posixpath.dirname(to), recursive=True)
        if files.get_file_info(name).is_file and files.get_file_info(to).is_file:
            files.delete_file(to)  # Hadoop renames nothing onto a file that is there
        files.move(name, to)

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            files, _, name = self._split(path)
            with contextlib.suppress(FileNotFoundError):
                files.delete_file(name)

    def look(self, path: str) -> FileInfo | None:
        files, _, name = self._split(path)
        found = files.get_file_info(name)
        return FileInfo(path, found.size, (found.mtime_ns or 0) / 1e9) if found.is_file else None

    def find(self, prefix: str) -> Iterator[FileInfo]:
        from pyarrow.fs import FileSelector

        files, root, name = self._split(prefix)
        folder = name.rpartition("/")[0] or "/"
        for found in files.get_file_info(FileSelector(folder, allow_not_found=True, recursive=True)):
            path = root + "/" + found.path.lstrip("/")
            if found.is_file and path.startswith(prefix):
                yield FileInfo(path, found.size, (found.mtime_ns or 0) / 1e9)

    def open(self, path: str) -> pa.NativeFile:
        files, _, name = self._split(path)
        return files.open_input_file(name)

    def create(self, path: str) -> Any:
        files, root, name = self._split(path)
        draft = posixpath.join(posixpath.dirname(name), f"_tmp.{uuid.uuid4().hex}")
        files.create_dir(posixpath.dirname(name), recursive=True)
        made = files.open_output_stream(draft)

        def finish() -> None:
            made.close()
            self.move(root + draft, path)

        def abandon(_: BaseException) -> None:
            made.close()
            files.delete_file(draft)

        return _Writer(made, finish, abandon)


def store_of(path: str) -> ObjectStore | None:
    """Return the store that a path lies in, None for a local path.

    Raises:
      OptionError: there is none of that scheme.
    """
    scheme = scheme_of(path)
    if scheme and scheme not in STORES:
        raise OptionError(
            f"{path}: there is no file system for {scheme}://; give a local path, gs://, s3:// or hdfs://"
        )
    return STORES[scheme] if scheme else None


def scheme_of(path: str) -> str:
    """Return what stands before "://", "" for a local path.

    >>> scheme_of("gs://bucket/people.txt"), scheme_of("/data/people.txt"), scheme_of("C:\\\\people.txt")
    ('gs', '', '')
    """
    found = SCHEME.match(path)
    return found[1] if found else ""


def use_options(flags: Sequence[str]) -> None:
    """Take the options of S3 from a command line, such as `--s3_endpoint_url`; those of others are passed over.

    Raises:
      OptionError: one lacks its value.
    """
    global _given
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in S3_OPTIONS:
        parser.add_argument(f"--s3_{name}")
    parser.add_argument("--s3_disable_ssl", action="store_const", const="yes")
    try:
        given, _ = parser.parse_known_args(list(flags))
    except argparse.ArgumentError as error:
        raise OptionError(str(error)) from None
    _given = {name: value for name, value in vars(given).items() if value}
    # the embedded runner tells the processes that it starts no options: they have this process's variables
    os.environ[VARIABLE] = json.dumps(_given)


def cause_of(error: Exception) -> str:
    """Return what a client says of an error: of an HTTP answer the status, code and message; else without its times."""
    text = str(error).partition("\n\nDebug source")[0]
    if any(place in text for place in ACCOUNTS_OF_MACHINES):
        return NO_ACCOUNT
    answer = re.search(r"status code: (\d+[ \w]*)", text)
    if answer:
        more = [found[1] for tag in ("Code", "Message") if (found := re.search(f"<{tag}>([^<]+)<", text))]
        return ": ".join([answer[1].strip(), *more])
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    text = re.sub(r" in [\d.]+[mµn]?s(, after [^-]*?)? +- ", ": ", " ".join(text.split()))
    return re.sub(r"//[^/@\s]+@", "//", text)[:300]  # an endpoint's URL may hold a password


_given: dict[str, str] | None = None
_user = 0  # the process that has used a client


def _refuse_fork() -> None:
    """Raise in a fork of a process that has used a client, whose threads did not come along: it would wait for ever."""
    global _user
    _user = _user or os.getpid()
    if _user != os.getpid():
        raise OSError("this process was forked from one that had opened a store; start it anew")


def _options() -> Mapping[str, str]:
    """Return the options of S3: those of the command line, or on a worker those that Beam or the variable tells."""
    if _given is not None:
        return _given
    inherited = json.loads(os.environ.get(VARIABLE, "{}"))
    systems = sys.modules.get("apache_beam.io.filesystems")
    beam = systems and systems.FileSystems._pipeline_options
    if not beam:
        return inherited
    view = beam.view_as(sys.modules["apache_beam.options.pipeline_options"].S3Options)
    names = (f"s3_{name}" for name in (*S3_OPTIONS, "disable_ssl"))
    return inherited | {name: str(value) for name in names if (value := getattr(view, name, None))}


def _info(path: str, found: Mapping[str, Any]) -> FileInfo:
    # in whole seconds: of Cloud Storage a list has milliseconds and the object's own head has none
    return FileInfo(path, found["size"], float(int(found["last_modified"].timestamp())))


def _s3(bucket: str, given: Mapping[str, str]) -> Any:
    known = os.environ
    endpoint = given.get("s3_endpoint_url") or known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL") or ""
    region = given.get("s3_region_name")
    config: dict[str, Any] = {"region": region} if region else {}
    patience: Any = {**PATIENCE, "allow_http": endpoint.startswith("http://")}
    if given.get("s3_disable_ssl") and not endpoint:
        region = region or known.get("AWS_DEFAULT_REGION") or known.get("AWS_REGION") or "us-east-1"
        endpoint, patience["allow_http"] = f"http://s3.{region}.amazonaws.com", True
    if endpoint:
        config["aws_endpoint_url_s3"] = endpoint.rstrip("/")  # it wins over the variables
    verify = given.get("s3_verify") or known.get("AWS_CA_BUNDLE") or ""
    if verify.lower() in ("false", "0", "no"):
        patience["allow_invalid_certificates"] = True
    elif verify and verify.lower() not in ("true", "1", "yes"):
        with open(verify, "rb") as file:
            patience["root_certificate"] = file.read()
    if "s3_access_key_id" in given:
        keys = {"access_key_id": given["s3_access_key_id"], "secret_access_key": given.get("s3_secret_access_key", "")}
        keys["token"] = given.get("s3_session_token") or None  # type: ignore[assignment]
        config["credential_provider"] = lambda: {**keys, "expires_at": None}
    elif not known.get("AWS_ACCESS_KEY_ID") and (provider := _profile()):
        config["credential_provider"] = provider
    return S3Store(bucket, client_options=patience, retry_config=RETRY, **config)


def _profile() -> Any:
    """Return what reads ~/.aws and its profiles, which is boto3; None where there is nothing to read.

    Raises:
      DataError: there is, and boto3 is not installed.
    """
    known = os.environ
    profile = known.get("AWS_PROFILE") or known.get("AWS_DEFAULT_PROFILE")
    keys = known.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.expanduser("~/.aws/credentials")
    config = known.get("AWS_CONFIG_FILE") or os.path.expanduser("~/.aws/config")
    if not profile and not os.path.exists(keys) and not os.path.exists(config):
        return None
    if importlib.util.find_spec("boto3"):
        from obstore.auth.boto3 import Boto3CredentialProvider

        return Boto3CredentialProvider()
    role = any(name.startswith(("AWS_WEB_IDENTITY", "AWS_CONTAINER_CREDENTIALS")) for name in known)
    if profile or (os.path.exists(keys) and not role):
        what = f"the profile {profile}" if profile else f"the keys in {keys}"
        raise DataError(f"{what} is read by boto3: pip install -r requirements/aws.txt; or {S3_KEYS}")
    return None


def _gs(bucket: str, _: Mapping[str, str]) -> Any:
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    if emulator:
        url = emulator if "://" in emulator else f"http://{emulator}"
        # an account that needs no token: without one the client looks for the machine's, whatever else it is told
        nobody = {
            "gcs_base_url": url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        return GCSStore(
            bucket,
            service_account_key=json.dumps(nobody),
            client_options=PATIENCE | {"allow_http": True},
            retry_config=RETRY,
        )
    config: dict[str, Any] = {}
    gcloud = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")
    account = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or f"{gcloud}/application_default_credentials.json"
    if os.path.exists(account):
        with open(account, "rb") as file:
            kind = json.load(file).get("type")
        config = {"application_credentials": account} if kind in PLAIN_ACCOUNTS else _federated(account, kind)
    elif os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        raise DataError(f"there is no file {account}, which GOOGLE_APPLICATION_CREDENTIALS names")
    return GCSStore(bucket, client_options=PATIENCE, retry_config=RETRY, **config)


def _federated(account: str, kind: str) -> dict[str, Any]:
    """Return the account of a file that only Google's own library reads, such as one of another provider."""
    try:
        import google.auth
        from obstore.auth.google import GoogleCredentialProvider
    except ImportError:
        raise DataError(
            f"{account} has an account of the kind {kind}, which needs: pip install -r requirements/dataflow.txt"
        ) from None
    scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
    return {"credential_provider": GoogleCredentialProvider(google.auth.default(scopes=scopes)[0])}


def _hdfs(root: str) -> Any:
    from pyarrow.fs import FileSystem

    try:
        return FileSystem.from_uri(f"{root}/")[0]
    except OSError as error:
        if "libjvm" in str(error) or "libhdfs" in str(error):
            raise DataError(NO_HADOOP) from None
        raise


STORES: dict[str, ObjectStore] = {"s3": Objects(_s3), "gs": Objects(_gs), "hdfs": Folders(_hdfs)}
