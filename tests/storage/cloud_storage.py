"""A stand-in for Cloud Storage: objects in memory behind its XML interface, and behind the part of JSON that reads.

The XML interface is what obstore uses, the other what Arrow's reader does. Conditions are honoured: on a generation
where it writes, on an ETag where it reads. There are no accounts and no latency. The argument is the port. The XML
interface serves any store that has what `Memory` has.
"""

import base64
import dataclasses
import email.utils
import hashlib
import itertools
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000


@dataclasses.dataclass(frozen=True)
class Stored:
    """An object: its bytes, its generation, and when it was written, in seconds since 1970."""

    data: bytes
    generation: int
    changed: float

    @property
    def tag(self):
        return f'"{hashlib.md5(self.data).hexdigest()}"'


class Memory:
    """Objects in memory."""

    def __init__(self):
        self.buckets = {}
        self.generations = itertools.count(1)

    def has(self, bucket):
        return bucket in self.buckets

    def names(self, bucket):
        return list(self.buckets[bucket])

    def get(self, bucket, name):
        """Return an object, None where there is none."""
        return self.buckets.get(bucket, {}).get(name)

    def put(self, bucket, name, data):
        made = self.buckets[bucket][name] = Stored(data, next(self.generations), time.time())
        return made

    def delete(self, bucket, name):
        del self.buckets[bucket][name]


class Refused(Exception):  # noqa: N818
    """An answer that is an error."""

    def __init__(self, status, code, **headers):
        super().__init__(status, code, headers)

    def reply(self):
        status, code, headers = self.args
        return reply(f"<Error><Code>{code}</Code><Message>made up</Message></Error>", status, **headers)


def reply(body=b"", status=200, **headers):
    """Return an answer: status, headers, body."""
    known = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return status, known, body.encode() if isinstance(body, str) else body


class Xml:
    """The XML interface of a store. Requests are answered one at a time, so that a condition holds."""

    def __init__(self, store):
        self.store = store
        self.lock = threading.RLock()
        self.uploads = {}  # by id: bytes by number of the part
        self.numbers = itertools.count(1)

    def answer(self, method, target, headers, body):
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        bucket, _, name = url.path[1:].partition("/")
        try:
            with self.lock:
                if not self.store.has(bucket):
                    raise Refused(404, "NoSuchBucket")
                if not name:
                    return self.list(bucket, query)
                return self.use(method, bucket, unquote(name), query, headers, body)
        except Refused as refused:
            return refused.reply()

    def use(self, method, bucket, name, query, headers, body):
        if method == "PUT" and "partNumber" in query:
            self.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return reply(ETag=Stored(body, 0, 0).tag)
        if method == "PUT":
            if copied := headers.get("x-goog-copy-source"):
                source = self.store.get(*unquote(copied).strip("/").split("/", 1))
                if source is None:
                    raise Refused(404, "NoSuchKey")
                body = source.data
            return self.write(bucket, name, headers, body)
        if method == "POST" and "uploads" in query:
            made = f"{next(self.numbers)}"
            self.uploads[made] = {}
            return reply(f"<R><Bucket>{bucket}</Bucket><Key>k</Key><UploadId>{made}</UploadId></R>")
        if method == "POST":
            numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
            parts = self.uploads.pop(query["uploadId"])
            return self.write(bucket, name, headers, b"".join(parts[number] for number in numbers))
        if method == "DELETE" and "uploadId" in query:
            self.uploads.pop(query["uploadId"], None)
            return reply(status=204)
        found = self.store.get(bucket, name)
        if found is None:
            raise Refused(404, "NoSuchKey")
        if method == "DELETE":
            self.store.delete(bucket, name)
            return reply(status=204)
        return content(found, headers)

    def write(self, bucket, name, headers, data):
        wanted = headers.get("x-goog-if-generation-match")
        if wanted is not None:
            known = self.store.get(bucket, name)
            if int(wanted) != (known.generation if known else 0):
                raise Refused(412, "PreconditionFailed")
        made = self.store.put(bucket, name, data)
        body = f"<R><Bucket>b</Bucket><Key>k</Key><Location>l</Location><ETag>{escape(made.tag)}</ETag></R>"
        return reply(body, ETag=made.tag, x_goog_generation=made.generation)

    def list(self, bucket, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = max(query.get("start-after", ""), query.get("continuation-token", ""))
        names = sorted(name for name in self.store.names(bucket) if name.startswith(prefix) and name > after)
        inner = (
            {n: n[len(prefix) :].partition(delimiter)[0] for n in names if delimiter in n[len(prefix) :]}
            if delimiter
            else {}
        )
        lines = [
            f"<Contents><Key>{escape(name)}</Key><Size>{len(found.data)}</Size><ETag>{escape(found.tag)}</ETag>"
            f"<LastModified>{stamp(found.changed)}</LastModified></Contents>"
            for name in names[:PAGE]
            if name not in inner
            for found in [self.store.get(bucket, name)]
        ]
        lines += [
            f"<CommonPrefixes><Prefix>{escape(prefix + part)}/</Prefix></CommonPrefixes>"
            for part in set(inner.values())
        ]
        if len(names) > PAGE:
            lines.append(f"<NextContinuationToken>{escape(names[PAGE - 1])}</NextContinuationToken>")
        return reply(f"<ListBucketResult>{''.join(lines)}</ListBucketResult>")


def content(found, headers):
    """Return the answer that has the bytes of an object, or those of them that were asked for.

    Raises:
      Refused: it has no such bytes, or is another than the one that was asked for.
    """
    size = len(found.data)
    if headers.get("If-Match", found.tag) != found.tag:
        raise Refused(412, "PreconditionFailed")
    known = {
        "ETag": found.tag,
        "x_goog_generation": found.generation,
        "Last_Modified": email.utils.formatdate(found.changed, usegmt=True),
        "Content_Type": "application/octet-stream",
    }
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range", ""))
    if not asked:
        return reply(found.data, **known)
    start = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
    end = min(int(asked[2]) + 1, size) if asked[1] and asked[2] else size
    if start >= size:
        raise Refused(416, "InvalidRange", Content_Range=f"bytes */{size}")
    return reply(found.data[start:end], 206, Content_Range=f"bytes {start}-{end - 1}/{size}", **known)


def described(bucket, name, found):
    """Return what the JSON interface says of an object."""
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{found.generation}",
        "bucket": bucket,
        "name": name,
        "generation": str(found.generation),
        "metageneration": "1",
        "size": str(len(found.data)),
        "updated": stamp(found.changed),
        "timeCreated": stamp(found.changed),
        "etag": found.tag,
        "md5Hash": base64.b64encode(hashlib.md5(found.data).digest()).decode(),
        "mediaLink": f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media",
    }


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    memory = Memory()
    xml = Xml(memory)

    def log_message(self, *_):
        pass

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if re.match(r"/(download/)?storage/v1/b", self.path):
            try:
                with self.xml.lock:
                    answer = self.read_json(body)
            except Refused as refused:
                answer = refused.reply()
        else:
            answer = self.xml.answer(self.command, self.path, self.headers, body)
        status, headers, data = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815

    def read_json(self, body):
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        if self.command == "POST":  # the tests make their bucket so
            self.memory.buckets[json.loads(body)["name"]] = {}
            return reply("{}")
        _, bucket, *place = unquote(url.path.partition("/b")[2]).split("/", 3)
        if not self.memory.has(bucket):
            raise Refused(404, "notFound")
        if not place:
            return reply(json.dumps({"kind": "storage#bucket", "name": bucket, "id": bucket}))
        if len(place) == 1:
            names = sorted(name for name in self.memory.names(bucket) if name.startswith(query.get("prefix", "")))
            items = [described(bucket, name, self.memory.get(bucket, name)) for name in names]
            return reply(json.dumps({"kind": "storage#objects", "items": items}))
        found = self.memory.get(bucket, place[1])
        if found is None:
            raise Refused(404, "notFound")
        if query.get("alt") == "media":
            return content(found, self.headers)
        return reply(json.dumps(described(bucket, place[1], found)), Content_Type="application/json")


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
