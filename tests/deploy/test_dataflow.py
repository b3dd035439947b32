"""Every job by the real Dataflow client, sent to a stand-in of the service and of Cloud Storage on this machine.

The client has an environment of its own, kept in pytest's cache: requirements/dataflow.txt. The stand-in runs a job
from what was staged for it, so that what is sent is enough.
"""

import base64
import bz2
import contextlib
import itertools
import json
import re
import subprocess
import tarfile
import zlib
from urllib.parse import quote

import pytest

from tests import programs
from tests.deploy.dataflow_user import JOBS, ROOT, SECRET, options_of
from tests.every_job import prepare

IMAGE = "europe-docker.pkg.dev/proj/repo/molino:1"
TOKEN = "a-token-of-the-stand-in"
WORKERS = {
    "machine_type": "n2-highmem-8",
    "num_workers": "3",
    "max_num_workers": "40",
    "disk_size_gb": "60",
    "network": "vpc",
    "subnetwork": "regions/europe-west1/subnetworks/workers",
    "worker_zone": "europe-west1-b",
    "number_of_worker_harness_threads": "4",
    "service_account_email": "molino@proj.iam.gserviceaccount.com",
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
# workers of the others take the program from the image: a package takes seconds to make, and its loops to compile
PACKAGED = ("names", "pca")
IN_IMAGE = ["--sdk_container_image", IMAGE]

# some of those options as the run carries them to its workers
CARRIED = {
    "names": {"min_count": 7, "repair": True, "curp": "drop"},
    "titles": {"validation": 0.25, "seed": 77},
    "whales": {"method": "saliency", "crop_quality": 71},
    "pca": {"components": 3},
    "shapes": {"points": {"kind": "generated", "rows": 1234, "seed": 1}},
    "predict": {"shards": 3},
}


@pytest.fixture(scope="module")
def sent(google):
    """Submit every job, with all worker options; return the jobs as sent, by name, and their commands' ends."""
    prepare("predict", google.home)
    ends = {}
    for job in JOBS:
        flags = [word for name, value in WORKERS.items() for word in (f"--{name}", value)]
        more = [
            *(["--setup_file", "./setup.py"] if job in PACKAGED else []),
            *IN_IMAGE,
            "--no_use_public_ips",
            "--labels",
            "by=us",
        ]
        ends[job] = google.submit(job, *more, *flags, output=f"out/{job}")
    jobs = google.jobs()
    assert len(jobs) == len(JOBS), [f"{job}: {end[0]} {end[1][-300:]}" for job, end in ends.items()]
    return dict(zip(JOBS, jobs, strict=True)), ends


def staged(google, job):
    """Return what was staged for a job, by name."""
    place = job["environment"]["tempStoragePrefix"].split("/bucket/")[1]
    files = (google.folder / "objects/bucket").glob(quote(place + "/", safe="") + "*")
    return {file.name.rsplit("%2F", 1)[1]: file.read_bytes() for file in files}


def unpacked(data):
    """Return bytes and all that is packed in them, and in that: Beam packs what it pickles."""
    found = [data]
    for text in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", data):
        # what stands before, such as its length, and after may be of the same letters by chance
        for start, packer in itertools.product(range(4), (zlib.decompressobj, bz2.BZ2Decompressor)):
            with contextlib.suppress(ValueError, OSError, zlib.error):
                cut = text[start:].rstrip(b"=")
                found.append(unpacked(packer().decompress(base64.b64decode(cut[: len(cut) // 4 * 4]))))
    return b"\n".join(found)


@pytest.mark.parametrize("job", JOBS)
def test_the_service_gets_image_package_workers_and_name(job, google, sent):
    asked = sent[0][job]
    (pool,) = asked["environment"]["workerPools"]
    assert asked["name"] == f"molino-{job}"
    assert asked["labels"] == {"by": "us"}
    assert [each["containerImage"] for each in pool["sdkHarnessContainerImages"]] == [IMAGE]
    assert [package["name"] for package in pool.get("packages", [])] == ["workflow.tar.gz"] * (job in PACKAGED)
    assert pool["machineType"] == WORKERS["machine_type"]
    assert pool["numWorkers"] == 3
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 40
    assert pool["diskSizeGb"] == 60
    assert pool["network"] == WORKERS["network"]
    assert pool["subnetwork"] == WORKERS["subnetwork"]
    assert pool["numThreadsPerWorker"] == 4
    assert asked["environment"]["workerZone"] == WORKERS["worker_zone"]
    assert asked["environment"]["serviceAccountEmail"] == WORKERS["service_account_email"]
    assert asked["environment"]["sdkPipelineOptions"]["options"]["region"] == "europe-west1"
    assert asked["environment"]["sdkPipelineOptions"]["options"]["use_public_ips"] is False


@pytest.mark.parametrize("job", PACKAGED)
def test_the_package_that_workers_install_is_the_program(job, google, sent, tmp_path):
    (tmp_path / "sent.tar.gz").write_bytes(staged(google, sent[0][job])["workflow.tar.gz"])
    with tarfile.open(tmp_path / "sent.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("molino[-_]jobs-*")  # setuptools of before 69.3 keeps the dash
    for name in ("jobs", "schemas", "training", "transforms"):
        for file in (ROOT / name).rglob("*.py"):
            assert (source / "molino" / file.relative_to(ROOT)).read_bytes() == file.read_bytes()


@pytest.fixture(scope="module")
def runs(google, sent, tmp_path_factory):
    """Return the run that each job's pipeline carries in its last step, by job."""
    paths = []
    for job, asked in sent[0].items():
        paths.append(tmp_path_factory.mktemp(job) / "pipeline.pb")
        paths[-1].write_bytes(staged(google, asked)["pipeline.pb"])
    done = subprocess.run([google.python, "-c", READ_RUN, *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(zip(JOBS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("job", JOBS)
def test_the_options_of_a_job_reach_its_workers(job, runs):
    """The run holds every option of the job."""
    run = runs[job]
    assert run["job"] == job
    assert run["output"] == f"gs://bucket/out/{job}"
    assert CARRIED[job].items() <= run["options"].items()


READ_RUN = """
import gc, json, sys
from apache_beam.internal import pickler
from apache_beam.portability.api import beam_runner_api_pb2 as api
from molino.jobs.run.runs import Run

found = {}
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        pipeline = api.Pipeline.FromString(file.read())
    steps = [step.spec for step in pipeline.components.transforms.values()]
    steps = [step for step in steps if step.urn == "beam:transform:pardo:v1"]
    held = [pickler.loads(api.ParDoPayload.FromString(step.payload).do_fn.payload) for step in steps]
    runs = {each.token: each for each in gc.get_objects() if isinstance(each, Run)}
    (run,) = [runs[token] for token in runs.keys() - found.keys()]
    found[run.token] = {"job": run.job, "output": run.output, "options": run.options}
print(json.dumps(list(found.values())))
"""


@pytest.mark.parametrize("job", JOBS)
def test_nothing_of_the_machine_and_no_secret_is_sent(job, google, sent):
    """Neither in what the service gets nor in what is staged, packed or not."""
    files = staged(google, sent[0][job])
    whole = json.dumps(sent[0][job]).encode() + b"".join(map(unpacked, files.values()))
    assert b"molino.jobs.run." in whole  # packed things are seen
    private = json.loads((google.home / "key.json").read_text())["private_key"].split("\n")[3]
    for secret in (SECRET, TOKEN, private, str(ROOT), str(google.home), google.home.name, str(google.python)):
        assert secret.encode() not in whole, secret


def forms_of(key):
    """Return a key as it is, and as it may be written by what packs it."""
    return [key, key.hex().encode(), *(base64.b64encode(b"x" * shift + key)[4:-4] for shift in range(3))]


def test_of_a_key_only_its_path_is_sent(google, tmp_path):
    key = b"f3a9-a-secret-key-of-hashes-77c1"
    (tmp_path / "key").write_bytes(key + b"\n")
    google.put(tmp_path / "key", "keys/curp")
    hashed = ["--curp", "hash", "--curp-key-file"]
    options = [*hashed, "gs://bucket/keys/curp"]
    code, said = google.submit("names", *IN_IMAGE, output="out/key", options=options)
    assert code == 0, said[-3000:]
    job = google.jobs()[-1]
    files = staged(google, job)
    whole = json.dumps(job).encode() + b"".join(map(unpacked, files.values()))
    assert b"gs://bucket/keys/curp" in whole
    assert [form for form in forms_of(key) if form in whole] == []
    # nor is it in the output, and the workers had it all the same
    objects = (google.folder / "objects/bucket").glob("out%2Fkey%2F*")
    assert [path.name for path in objects if key in path.read_bytes()] == []
    command = ["molino", "names", "--input", google.home / JOBS["names"][1], "--quiet"]
    programs.run([*command, *hashed, tmp_path / "key", "--output", tmp_path / "out"])
    here = json.loads((tmp_path / "out/_manifest.json").read_text())
    there = json.loads(google.get("out/key/_manifest.json"))
    assert here["digest"] == there["digest"]
    assert there["options"]["curp"] == "hash"


@pytest.mark.parametrize("job", JOBS)
def test_a_job_run_from_what_was_sent_gives_what_the_embedded_runner_gives(job, google, sent, tmp_path):
    code, said = sent[1][job]
    assert code == 0, said[-3000:]
    place, options = JOBS[job][1], options_of(job, google.home)
    inputs = ["--input", google.home / ("sea/images" if job == "whales" else place)] if place else []
    programs.run(["molino", job, *inputs, *options, "--quiet", "--output", tmp_path / "out"], cwd=ROOT)
    here = json.loads((tmp_path / "out/_manifest.json").read_text())
    there = json.loads(google.get(f"out/{job}/_manifest.json"))
    digests = [{name: each["digest"] for name, each in run["datasets"].items()} for run in (here, there)]
    assert digests[0] == digests[1]
    assert google.get(f"out/{job}/_SUCCESS")
