"""Templates of Dataflow: their metadata is that of the options, and launched as the service does they run the jobs."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests import programs
from tests.deploy.dataflow_user import JOBS as SUBMITTED
from tests.deploy.dataflow_user import ROOT
from tests.deploy.templates_stand_in import wrong_parameters

sys.path.append(str(ROOT / "deploy/dataflow"))

import launch
import make_metadata

IMAGE = "europe-docker.pkg.dev/proj/repo/molino:1"


def text_of(job):
    return (ROOT / f"deploy/dataflow/{job}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("job", launch.JOBS)
def test_the_file_is_what_the_options_give(job):
    """`make docs` writes it anew."""
    assert text_of(job) == make_metadata.as_text(make_metadata.metadata(job))


@pytest.mark.parametrize("job", launch.JOBS)
def test_every_option_has_a_parameter_and_every_parameter_an_option(job):
    named = {each["name"] for each in json.loads(text_of(job))["parameters"]}
    options = {name for name, _ in launch.options_of(launch.job_parser(job))}
    assert named - {"job", "sdk_container_image"} == options - make_metadata.LEFT_OUT
    required = {name for name, action in launch.options_of(launch.job_parser(job)) if action.required}
    assert {
        each["name"] for each in json.loads(text_of(job))["parameters"] if not each.get("isOptional")
    } == required | {"job", "sdk_container_image"}


GOOD = {
    "positive": ["1", "16777216", "999999999999"],
    "line_bytes": ["1", "65536", "999999999"],
    "natural": ["0", "7", "100"],
    "year": ["1900", "2012", "2199"],
    "ratio": ["0", "1", "0.01", ".5", "1.0", "0.0"],
    "float": ["0", "0.25", "-1", ".5", "3."],
    "error_limit": ["0.01", ".5", "1", "2", "2.0", "1e-3", "1.5e-4"],
    "sha256_digits": ["0" * 64, "aF" * 32],
}
BAD = {
    "positive": ["0", "-1", "x", "", "1.5", "9999999999999", "1 "],
    "line_bytes": ["0", "9999999999", "64k"],
    "natural": ["-1", "x", ""],
    "year": ["1899", "2200", "12", "20122"],
    "ratio": ["2", "-0.1", "1.1", "x", "", "."],
    "float": ["x", "", "."],
    "error_limit": ["0", "0.0", "3", "x", ""],
    "sha256_digits": ["0" * 63, "g" * 64],
}


@pytest.mark.parametrize("kind", make_metadata.FORMS)
def test_a_form_accepts_what_its_parser_accepts(kind):
    parsers = {
        action.type.__name__: action.type
        for job in launch.JOBS
        for _, action in launch.options_of(launch.job_parser(job))
        if action.type
    }
    form = re.compile(f"^({make_metadata.FORMS[kind]})$")
    for text in GOOD[kind]:
        assert form.search(text), text
        parsers[kind](text)
    for text in BAD[kind]:
        assert not form.search(text), text


def test_every_parser_of_a_number_has_a_form():
    kinds = {
        action.type.__name__
        for job in launch.JOBS
        for name, action in launch.options_of(launch.job_parser(job))
        if action.type and name not in make_metadata.LEFT_OUT
    }
    assert kinds - set(make_metadata.FORMS) == {
        "place", "named_model", "named_digest", "named_problem", "kept_column",
    }  # fmt: skip


PARAMETERS = {"sdk_container_image": IMAGE, "input": "gs://b/1.txt", "output": "gs://b/out"}


@pytest.mark.parametrize(
    ("job", "more", "wrong"),
    [
        ("names", {}, ""),
        ("names", {"input": "gs://b/1.txt gs://b/*.zip"}, ""),
        ("names", {"input": "'gs://b/a name.txt'"}, ""),
        ("names", {"input": "/data/1.txt"}, "input"),
        ("names", {"output": "gs://b/a b"}, "output"),
        ("names", {"output": "out"}, "output"),
        ("names", {"min_count": "7", "repair_names": "true", "curp": "drop"}, ""),
        ("names", {"min_count": "0"}, "min_count"),
        ("names", {"repair_names": "yes"}, "repair_names"),
        ("names", {"curp": "keep it"}, "curp"),
        ("names", {"curp": "hash", "curp_key_file": "gs://b/key"}, ""),
        ("names", {"curp_key_file": "/root/key"}, "curp_key_file"),
        ("names", {"job": "titles"}, "job"),
        ("names", {"sdk_container_image": "molino"}, "sdk_container_image"),
        ("names", {"shuffle": "files"}, "shuffle"),
        ("titles", {"model": "es=gs://b/m en=gs://b/n.tar.gz", "vector_type": "float16"}, ""),
        ("titles", {"vector_type": "float64"}, "vector_type"),
        ("predict", {"model": "gs://b/classifier"}, ""),
        ("predict", {"model": "/opt/models/classifier"}, ""),
        ("predict", {"model": "here"}, "model"),
        ("predict", {}, "model"),
        ("whales", {"method": "saliency", "share": "0.2"}, ""),
        ("whales", {"method": "magic"}, "method"),
        ("pca", {"column": "vector", "max_cosine_error": "0.01"}, ""),
        ("pca", {"column": "vector", "max_cosine_error": "7"}, "max_cosine_error"),
    ],
)
def test_the_service_would_accept_good_values_and_refuse_bad_ones(job, more, wrong):
    found = wrong_parameters(json.loads(text_of(job)), PARAMETERS | more)
    assert [wrong in each for each in found] == [True] * bool(wrong)


def test_words_of_the_launcher_are_a_command_line():
    words = [
        "--curp_key_file=gs://b/key",
        "--input=gs://b/1 'gs://b/a name'",
        "--job=names",
        "--job_name=x",
        "--junk=NULL '' -",
        "--min_count=7",
        "--output=gs://b/out",
        "--overwrite=false",
        "--quote=",
        "--repair_names=true",
    ]
    command = launch.command_of(words)
    given, beam = launch.job_parser("names").parse_known_args(command[1:])
    assert (command[0], beam) == ("names", ["--job_name=x"])
    assert given.input == ["gs://b/1", "gs://b/a name"]
    assert (given.junk, given.min_count, given.quote) == (["NULL", "", "-"], 7, "")
    assert (given.repair, given.overwrite, given.curp_key_file) == (True, False, "gs://b/key")
    models = launch.command_of(["--job=titles", "--model=a=gs://b/1 b=gs://b/2"])
    assert models == ["titles", "--model", "a=gs://b/1", "--model", "b=gs://b/2"]


@pytest.mark.parametrize(
    ("words", "why"), [(["--job=names", "--overwrite=1"], "true or false"), ([], "must be one of")]
)
def test_what_is_no_command_line_is_said(words, why, capsys):
    assert launch.main(words) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("job", launch.JOBS)
def test_the_template_file_is_what_gcloud_makes(job, tmp_path):
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    done = subprocess.run(
        ["gcloud", "dataflow", "flex-template", "build", "gs://bucket/t.json", "--image", IMAGE, "--sdk-language",
         "PYTHON", "--metadata-file", ROOT / f"deploy/dataflow/{job}.json", "--print-only", "--project", "p", "--quiet",
         "--format", "json"],
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path)}, capture_output=True, text=True, check=True)  # fmt: skip
    found = json.loads(done.stdout)
    assert (json.loads(found) if isinstance(found, str) else found) == make_metadata.specification(job, IMAGE)


def post(google, path, body):
    """Ask the service; return its status and answer."""
    request = urllib.request.Request(
        f"{google.url}/v1b3/projects/proj/locations/europe-west1/{path}", json.dumps(body).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def gcloud(google, folder, *words):
    """Ask the service by gcloud."""
    (folder / "token").write_text("a-token")
    environment = {
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAFLOW": f"{google.url}/",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
        "CLOUDSDK_CORE_PROJECT": "proj",
    }
    command = ["gcloud", "dataflow", *words, "--region", "europe-west1", "--quiet"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def wait_for(google, output, seconds=240):
    """Return the manifest of an output when its job is done, and nothing of the run at work is left."""
    end = time.monotonic() + seconds
    folder = google.folder / "objects/bucket"
    while time.monotonic() < end:
        if not list(folder.glob(f"out%2F{output}%2F_lock")) and list(folder.glob(f"out%2F{output}%2F_SUCCESS")):
            assert not list(folder.glob(f"out%2F{output}%2F_staging*"))
            return json.loads(google.get(f"out/{output}/_manifest.json"))
        time.sleep(0.5)
    logs = [path.read_text()[-3000:] for path in (google.folder / "jobs").glob("*.log")]
    raise AssertionError(f"not done: {output}; {logs}")


def digests_of(manifest):
    return {name: dataset["digest"] for name, dataset in manifest["datasets"].items()}


def digests_here(google, job, options, tmp_path):
    """Return the digests of the same run on this machine."""
    place = SUBMITTED[job][1]
    programs.run(["molino", job, "--input", google.home / place, *options, "--quiet", "--output", tmp_path / "out"])
    return digests_of(json.loads((tmp_path / "out/_manifest.json").read_text()))


@pytest.mark.slow
@pytest.mark.timeout(1200)
class TestLaunched:
    """Both kinds of template, launched on the stand-in."""

    def test_a_flex_template_runs_the_job(self, google, tmp_path):
        spec = tmp_path / "names.json"
        spec.write_text(json.dumps(make_metadata.specification("names", IMAGE)))
        google.put(spec, "templates/names.json")
        parameters = {
            "sdk_container_image": IMAGE,
            "input": "gs://bucket/in/n.txt",
            "output": "gs://bucket/out/flex",
            "min_count": "7",
            "repair_names": "true",
            "curp": "drop",
        }
        asked = {"jobName": "by-flex", "containerSpecGcsPath": "gs://bucket/templates/names.json"}
        body = {"launchParameter": {**asked, "parameters": parameters}}
        if shutil.which("gcloud"):
            flags = [f"--parameters={name}={value}" for name, value in parameters.items()]
            gcloud(google, tmp_path, "flex-template", "run", "by-flex", "--template-file-gcs-location",
                   asked["containerSpecGcsPath"], *flags)  # fmt: skip
        else:
            post(google, "flexTemplates:launch", body)
        log = json.loads((google.folder / "jobs/launch.log").read_text())
        assert log["code"] == 0, log
        assert "describes the job" in log["out"]
        assert google.jobs()[-1]["name"] == "by-flex"
        manifest = wait_for(google, "flex")
        assert digests_of(manifest) == digests_here(google, "names", SUBMITTED["names"][2], tmp_path)
        job = google.jobs()[-1]
        (pool,) = job["environment"]["workerPools"]
        assert [each["containerImage"] for each in pool["sdkHarnessContainerImages"]] == [IMAGE]
        assert not pool.get("packages")
        # what the metadata does not allow starts nothing
        before = len(google.jobs())
        status, said = post(google, "flexTemplates:launch", {"launchParameter": {**asked, "parameters": {"x": "y"}}})
        assert status == 400
        assert "unrecognized parameter: x" in said["error"]["message"]
        assert len(google.jobs()) == before

    def test_a_job_file_agrees_with_the_options_and_is_launched_later(self, google, tmp_path):
        more = ["--setup_file", "./setup.py", "--template_location", "gs://bucket/templates/pca"]
        before = len(google.jobs())
        code, said = google.submit("pca", *more, output="out/classic")
        assert code == 0, said
        assert len(google.jobs()) == before  # nothing runs yet
        job = json.loads(google.get("templates/pca"))
        assert job["name"] == "molino-pca"
        options = job["environment"]["sdkPipelineOptions"]["options"]
        assert options["region"] == "europe-west1"
        # the output is kept for it
        code, said = google.submit("pca", "--setup_file", "./setup.py", output="out/classic")
        assert code == 75
        assert "is kept for the job of gs://bucket/templates/pca" in said
        status, _ = post(google, "templates", {"jobName": "later", "gcsPath": "gs://bucket/templates/pca"})
        assert status == 200
        manifest = wait_for(google, "classic")
        assert manifest["options"]["components"] == 3
        assert digests_of(manifest) == digests_here(google, "pca", SUBMITTED["pca"][2], tmp_path)
        # launched once more it does no harm
        if shutil.which("gcloud"):
            gcloud(google, tmp_path, "jobs", "run", "again", "--gcs-location", "gs://bucket/templates/pca")
        else:
            post(google, "templates", {"jobName": "again", "gcsPath": "gs://bucket/templates/pca"})
        log = google.folder / f"jobs/job-{len(google.jobs()) - 1}.log"  # written at its end
        end = time.monotonic() + 240
        while not log.exists() and time.monotonic() < end:
            time.sleep(0.5)
        assert log.exists()
        assert wait_for(google, "classic")["digest"] == manifest["digest"]
