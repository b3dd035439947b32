"""What S3 and Cloud Storage are asked directly: whole objects, in one request each, and on a condition.

Beam's file systems write a small object in three requests, read one in two, during which it may be replaced, know no
condition, and delete on Cloud Storage in batches of one.
"""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, S3Options

NOT_FOUND, TAKEN, UNSUPPORTED = (404,), (409, 412), (400, 501)  # HTTP: the object is there; no such condition is known
MOST_DELETED = 1000  # objects in one request to S3


class ObjectStore(Protocol):
    """What a store can do with whole objects."""

    def get(self, path: str) -> bytes:
        """Return an object as it is at one moment, even while it is replaced."""

    def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write an object; a `new` one only where there is none, in one step. Return whether it was written.

        Raises:
          UnsupportedError: the store knows no such condition.
        """

    def copy(self, source: str, target: str) -> None:
        """Copy an object of any size."""

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error."""


class UnsupportedError(Exception):
    """The store knows no conditional writes."""


class S3:
    """By boto3's client, as Beam makes it from its options."""

    def _client(self) -> Any:
        from apache_beam.io.aws.clients.s3.boto3_client import Client

        return Client(_options()).client

    def get(self, path: str) -> bytes:
        bucket, key = _split(path)
        return self._client().get_object(Bucket=bucket, Key=key)["Body"].read()

    def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        bucket, key = _split(path)
        condition = {"IfNoneMatch": "*"} if new else {}
        return _on_condition(lambda: self._client().put_object(Bucket=bucket, Key=key, Body=data, **condition), new)

    def copy(self, source: str, target: str) -> None:
        (bucket, key), (to_bucket, to_key) = _split(source), _split(target)
        self._client().copy({"Bucket": bucket, "Key": key}, to_bucket, to_key)  # in parts from 5 GB

    def delete(self, paths: Sequence[str]) -> None:
        client = self._client()
        if len(paths) == 1:
            bucket, key = _split(paths[0])
            client.delete_object(Bucket=bucket, Key=key)
            return
        for start in range(0, len(paths), MOST_DELETED):
            some = [_split(path) for path in paths[start : start + MOST_DELETED]]
            keys = {"Objects": [{"Key": key} for _, key in some], "Quiet": True}
            errors = client.delete_objects(Bucket=some[0][0], Delete=keys).get("Errors")
            if errors:
                raise OSError(f"{errors[0].get('Key')}: {errors[0].get('Code')} {errors[0].get('Message')}")


class CloudStorage:
    """By Google's client, as Beam makes it from its options."""

    def _blob(self, path: str) -> tuple[Any, Any]:
        """Return an object, and how often to try again."""
        from apache_beam.io.gcp.gcsio import GcsIO

        made, (bucket, key) = GcsIO(pipeline_options=_options()), _split(path)
        return made.client.bucket(bucket).blob(key), made._storage_client_retry

    def get(self, path: str) -> bytes:
        blob, retry = self._blob(path)
        return blob.download_as_bytes(raw_download=True, retry=retry)

    def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        blob, retry = self._blob(path)
        condition = {"if_generation_match": 0} if new else {}
        kind = "application/octet-stream"
        return _on_condition(lambda: blob.upload_from_string(data, content_type=kind, retry=retry, **condition), new)

    def copy(self, source: str, target: str) -> None:
        (blob, retry), (to, _), token = self._blob(source), self._blob(target), ""
        while token is not None:
            token = to.rewrite(blob, token=token or None, retry=retry)[0]

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            blob, retry = self._blob(path)
            try:
                blob.delete(retry=retry)
            except Exception as error:
                if http_status(error) not in NOT_FOUND:
                    raise


_STORES: dict[str, ObjectStore] = {"s3": S3(), "gs": CloudStorage()}


def store_of(path: str) -> ObjectStore | None:
    """Return the store that a path lies in; None for all file systems but S3 and Cloud Storage."""
    return _STORES.get(FileSystems.get_scheme(path) or "")


def http_status(error: Exception) -> int:
    """Return the status of an error of boto3 or of Google's client; 0 of any other."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return int(getattr(error, "code", 0) or 0)


def _on_condition(write: Callable[[], object], new: bool) -> bool:
    try:
        write()
    except Exception as error:
        if new and http_status(error) in TAKEN:
            return False
        if new and http_status(error) in UNSUPPORTED:
            raise UnsupportedError(str(error)) from error
        raise
    return True


def _split(path: str) -> tuple[str, str]:
    """Return bucket and key.

    >>> _split("s3://mill/names/_lock")
    ('mill', 'names/_lock')
    """
    bucket, _, key = path.partition("://")[2].partition("/")
    return bucket, key


def _options() -> PipelineOptions:
    return FileSystems._pipeline_options or PipelineOptions([])


def _share_clients() -> None:
    """Let Beam make one client for each set of options, not one for each file.

    A client of boto3 takes 0.1 s of a core, and each has connections of its own: a small run makes 70 of them. Both
    kinds may be used by several threads.
    """
    try:
        from apache_beam.io.aws.clients.s3 import boto3_client
    except ImportError:
        pass
    else:
        boto3_client.Client = _shared_boto3(boto3_client.Client)
    try:
        from apache_beam.io.gcp import gcsio
    except ImportError:
        pass
    else:
        gcsio.create_storage_client = _shared_google(gcsio.create_storage_client)


def _shared_boto3(kind: type) -> type:
    made: dict[str, Any] = {}
    lock = threading.Lock()

    class Client(kind):
        def __init__(self, options: Any):
            key = str(options.view_as(S3Options) if isinstance(options, PipelineOptions) else options)
            with lock:
                if key not in made:
                    made[key] = kind(options)
            self.__dict__.update(made[key].__dict__)  # but for boto3's client all is of the object that is being read

    return Client


def _shared_google(make: Callable[..., Any]) -> Callable[..., Any]:
    made: dict[str, Any] = {}
    lock = threading.Lock()

    @functools.wraps(make)
    def create(pipeline_options: Any, use_credentials: bool = True) -> Any:
        if os.environ.get("STORAGE_EMULATOR_HOST"):
            use_credentials = False  # an emulator wants none, and Beam looks for some for half a minute
        key = f"{use_credentials} {pipeline_options.view_as(GoogleCloudOptions)}"
        with lock:
            if key not in made:
                made[key] = make(pipeline_options, use_credentials)
            return made[key]

    return create


_share_clients()
