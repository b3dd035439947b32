"""A stand-in for Cloud Storage: objects in memory behind its XML interface, and behind the part of JSON that reads.

The XML interface is what obstore uses, the other what Arrow's reader does. Conditions are honoured: on a generation
where it writes, on an ETag where it reads. There are no accounts and no latency. The argument is the port.
"""

import base64
import email.utils
import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
BUCKETS: dict[str, dict] = {}  # by name: of each object bytes, generation and time
UPLOADS: dict[str, dict] = {}  # by id: bytes by number of the part
LOCK = threading.RLock()
GENERATIONS = iter(range(1, sys.maxsize))


class Refused(Exception):  # noqa: N818
    """An answer that is an error."""

    def __init__(self, status, code):
        super().__init__(status, code)


def tag_of(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status=200, body=b"", **headers):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            if re.match(r"/(download/)?storage/v1/b", parts.path):
                return self.read_json(parts.path, query, body)
            bucket, _, name = parts.path[1:].partition("/")
            with LOCK:
                if bucket not in BUCKETS:
                    raise Refused(404, "NoSuchBucket")
                return self.use_xml(BUCKETS[bucket], bucket, unquote(name), query, body)
        except Refused as refused:
            status, code = refused.args
            return self.answer(status, f"<Error><Code>{code}</Code><Message>made up</Message></Error>")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815

    # --- XML

    def use_xml(self, objects, bucket, name, query, body):
        if not name:
            return self.list_xml(objects, query)
        if self.command == "PUT" and "partNumber" in query:
            UPLOADS[query["uploadId"]][int(query["partNumber"])] = body
            return self.answer(ETag=tag_of(body))
        if self.command == "PUT":
            if copied := self.headers.get("x-goog-copy-source"):
                source, _, key = unquote(copied).strip("/").partition("/")
                if key not in BUCKETS.get(source, {}):
                    raise Refused(404, "NoSuchKey")
                body = BUCKETS[source][key][0]
            return self.write(objects, name, body)
        if self.command == "POST" and "uploads" in query:
            made = f"{next(GENERATIONS)}"
            UPLOADS[made] = {}
            return self.answer(body=f"<R><Bucket>{bucket}</Bucket><Key>k</Key><UploadId>{made}</UploadId></R>")
        if self.command == "POST":
            numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
            parts = UPLOADS.pop(query["uploadId"])
            return self.write(objects, name, b"".join(parts[number] for number in numbers))
        if self.command == "DELETE" and "uploadId" in query:
            UPLOADS.pop(query["uploadId"], None)
            return self.answer(204)
        if name not in objects:
            raise Refused(404, "NoSuchKey")
        if self.command == "DELETE":
            del objects[name]
            return self.answer(204)
        return self.send_object(*objects[name])

    def write(self, objects, name, data):
        wanted = self.headers.get("x-goog-if-generation-match")
        if wanted is not None and int(wanted) != objects.get(name, (b"", 0))[1]:
            raise Refused(412, "PreconditionFailed")
        objects[name] = data, next(GENERATIONS), time.time()
        tag = tag_of(data)
        body = f"<R><Bucket>b</Bucket><Key>k</Key><Location>l</Location><ETag>{escape(tag)}</ETag></R>"
        self.answer(body=body, ETag=tag, x_goog_generation=objects[name][1])

    def send_object(self, data, generation, changed):
        tag = tag_of(data)
        if self.headers.get("If-Match", tag) != tag:
            raise Refused(412, "PreconditionFailed")
        known = {
            "ETag": tag,
            "x_goog_generation": generation,
            "Last_Modified": email.utils.formatdate(changed, usegmt=True),
            "Content_Type": "application/octet-stream",
        }
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self.answer(body=data, **known)
        start = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
        end = min(int(asked[2]) + 1, len(data)) if asked[1] and asked[2] else len(data)
        if start >= len(data):
            raise Refused(416, "InvalidRange")
        return self.answer(206, data[start:end], Content_Range=f"bytes {start}-{end - 1}/{len(data)}", **known)

    def list_xml(self, objects, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = max(query.get("start-after", ""), query.get("continuation-token", ""))
        names = sorted(name for name in objects if name.startswith(prefix) and name > after)
        inner = (
            {n: n[len(prefix) :].partition(delimiter)[0] for n in names if delimiter in n[len(prefix) :]}
            if delimiter
            else {}
        )
        told = [name for name in names[:PAGE] if name not in inner]
        lines = [
            f"<Contents><Key>{escape(name)}</Key><Size>{len(data)}</Size><ETag>{escape(tag_of(data))}</ETag>"
            f"<LastModified>{stamp(changed)}</LastModified></Contents>"
            for name in told
            for data, _, changed in [objects[name]]
        ]
        lines += [
            f"<CommonPrefixes><Prefix>{escape(prefix + part)}/</Prefix></CommonPrefixes>"
            for part in set(inner.values())
        ]
        if len(names) > PAGE:
            lines.append(f"<NextContinuationToken>{escape(names[PAGE - 1])}</NextContinuationToken>")
        self.answer(body=f"<ListBucketResult>{''.join(lines)}</ListBucketResult>")

    # --- JSON

    def read_json(self, path, query, body):
        place = path.partition("/b")[2].split("/")
        with LOCK:
            if self.command == "POST":  # the tests make their bucket so
                BUCKETS[json.loads(body)["name"]] = {}
                return self.answer(body="{}")
            bucket = unquote(place[1])
            objects = BUCKETS.get(bucket)
            if objects is None:
                raise Refused(404, "notFound")
            if len(place) == 2:
                return self.answer(body=json.dumps({"kind": "storage#bucket", "name": bucket, "id": bucket}))
            if len(place) == 3:
                names = sorted(name for name in objects if name.startswith(query.get("prefix", "")))
                items = [described(bucket, name, objects[name]) for name in names]
                return self.answer(body=json.dumps({"kind": "storage#objects", "items": items}))
            name = unquote("/".join(place[3:]))
            if name not in objects:
                raise Refused(404, "notFound")
            if query.get("alt") == "media":
                return self.send_object(*objects[name])
            return self.answer(body=json.dumps(described(bucket, name, objects[name])), Content_Type="application/json")


def described(bucket, name, known):
    data, generation, changed = known
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{generation}",
        "bucket": bucket,
        "name": name,
        "generation": str(generation),
        "metageneration": "1",
        "size": str(len(data)),
        "updated": stamp(changed),
        "timeCreated": stamp(changed),
        "etag": tag_of(data),
        "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
        "mediaLink": f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media",
    }


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
