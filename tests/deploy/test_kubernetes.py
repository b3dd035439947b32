"""The manifests for Kubernetes: by the schemas of Kubernetes and of Flink's operator, and against what they run.

No cluster is at hand. The schemas come with kubernetes-validate (PyPI) and with the operator's own jar (Maven); both
are kept in pytest's cache.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from molino import VERSION
from molino.jobs import names
from molino.jobs.options import EXISTS, USAGE, beam_parser
from tests.own_environment import python_with

ROOT = Path(__file__).resolve().parents[2]
FLINK = ROOT / "deploy/flink"
FILES = [FLINK / "kubernetes.yaml", FLINK / "kubernetes-session.yaml"]
REQUIREMENTS = ROOT / "tests/deploy/kubernetes.txt"
OPERATOR = "org.apache.flink:flink-kubernetes-operator-api:1.10.0"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
pytestmark = pytest.mark.timeout(900)  # of the first call: what it fetches
IMAGE = f"molino:{VERSION}"


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def one(kind, name, path=FILES[0]):
    (found,) = (each for each in documents(path) if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def pods():
    """Return the specification of every pod, by file and name."""
    found = {}
    for path in FILES:
        for document in documents(path):
            spec = document.get("spec", {})
            for template in (spec.get("template"), spec.get("taskManager", {}).get("podTemplate")):
                if template:
                    found[path.name, document["metadata"]["name"]] = template["spec"]
    return found


def setting(name):
    return re.search(rf"\b{name}=(\S+)", (FLINK / "settings").read_text())[1]


@pytest.fixture(scope="module")
def check(request):
    """Return a function from files to what the schemas say against them."""
    if not shutil.which("mvn"):
        pytest.skip("there is no mvn, which fetches the operator's schema")
    python = python_with(request.config.cache, "kubernetes", REQUIREMENTS)
    place = Path(request.config.cache.mkdir("-".join(OPERATOR.split(":")[1:])))
    if not (place / "whole").exists():
        maven = ["mvn", "-B", "-ntp", "-q", "-C", COPY, f"-Dartifact={OPERATOR}", f"-DoutputDirectory={place}"]
        subprocess.run([*maven, "-Dmdep.stripVersion=true"], check=True)
        (place / "whole").touch()
    program = [python, ROOT / "tests/deploy/check_manifests.py", place / f"{OPERATOR.split(':')[1]}.jar"]
    return lambda *paths: subprocess.run([*program, *paths], check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_the_schemas_have_nothing_against_the_manifests(check):
    assert check(*FILES) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("kubernetes.yaml", "flinkVersion: v1_19", "flinkVersion: v1_99", "v1_99"),
        ("kubernetes.yaml", "containerPort: 50000", "containerport: 50000", "containerport"),
        ("kubernetes.yaml", "backoffLimit: 3", "backoffLimit: three", "three"),
        ("kubernetes.yaml", "podSelector:", "podSelectors:", "podSelectors"),
        ("kubernetes-session.yaml", "replicas: 2", "replica: 2", "'replica'"),
    ],
)
def test_the_schemas_have_something_against_a_slip(file, right, wrong, said, check, tmp_path):
    text = (FLINK / file).read_text()
    assert right in text
    (tmp_path / "slip.yaml").write_text(text.replace(right, wrong, 1))
    assert said in check(tmp_path / "slip.yaml")


def test_flink_is_the_one_that_is_tested_here():
    version = setting("FLINK")
    cluster = one("FlinkDeployment", "molino-flink")["spec"]
    images = {container["image"] for pod in pods().values() for container in pod["containers"] if "image" in container}
    assert images | {cluster["image"]} == {IMAGE, f"flink:{version}-java17"}
    assert cluster["flinkVersion"] == "v" + "_".join(version.split(".")[:2])
    assert f"apache-flink-libraries=={version} " in (FLINK / "requirements.txt").read_text()
    pom = (FLINK / "pom.xml").read_text()
    assert f"<artifactId>beam-runners-flink-{version.rsplit('.', 1)[0]}</artifactId>" in pom
    assert f"<version>{setting('BEAM_JAVA')}</version>" in pom


def test_beam_is_the_project_s():
    assert f"apache-beam=={setting('BEAM')} " in (ROOT / "requirements/run.txt").read_text()


def test_the_image_is_the_dockerfile_s():
    """Its user may write to the volume, and its pool listens where the job looks for workers."""
    dockerfile = ROOT / "Dockerfile"
    if not dockerfile.exists():
        pytest.skip("there is no Dockerfile")
    last = dockerfile.read_text().rpartition("FROM environment AS molino\n")[2]
    for name in (("kubernetes.yaml", "molino-flink"), ("kubernetes-session.yaml", "molino-flink-taskmanager")):
        (workers,) = (each for each in pods()[name]["containers"] if each["name"] == "workers")
        assert f"EXPOSE {workers['ports'][0]['containerPort']}\n" in last
        assert f"USER {pods()[name]['securityContext']['fsGroup']}\n" in last
    assert f"beam_python3.11_sdk:{setting('BEAM')} " in dockerfile.read_text()


@pytest.mark.parametrize(
    "place", [("kubernetes.yaml", "molino-flink"), ("kubernetes-session.yaml", "molino-flink-taskmanager")]
)
def test_workers_stand_beside_each_taskmanager_and_see_what_the_job_sees(place):
    job = one("Job", "molino-names")["spec"]["template"]["spec"]
    (workers,) = (each for each in pods()[place]["containers"] if each["name"] == "workers")
    assert workers["args"] == ["--worker_pool"]
    assert workers["image"] == job["containers"][0]["image"] == IMAGE
    assert workers["volumeMounts"] == job["containers"][0]["volumeMounts"]
    assert pods()[place]["volumes"] == job["volumes"]
    (port,) = workers["ports"]
    assert f"--environment_config=localhost:{port['containerPort']}" in job["containers"][0]["args"]


def test_the_job_s_command_line_is_right():
    (container,) = one("Job", "molino-names")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["molino"]
    assert container["args"][0] == "names"
    given, beam = names.parser().parse_strictly(container["args"][1:])
    assert (given.input, given.output, given.runner) == (["/data/sep.txt"], "/data/names", "FlinkRunner")
    options = beam_parser(pytest.fail).parse_args(beam)
    host, port = options.flink_master.split(":")
    service = one("Service", host, FILES[1])
    assert int(port) in [each["port"] for each in service["spec"]["ports"]]
    assert host == one("FlinkDeployment", "molino-flink")["metadata"]["name"] + "-rest"  # as the operator names it
    assert options.parallelism == one("Deployment", "molino-flink-taskmanager", FILES[1])["spec"]["replicas"]


def test_the_job_fails_at_once_where_no_retry_helps_and_a_second_pod_is_not_bound_to_a_name():
    job = one("Job", "molino-names")["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    (container,) = job["template"]["spec"]["containers"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [USAGE, EXISTS]}
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # what a podFailurePolicy needs
    assert job["backoffLimit"] > 0
    assert "hostname" not in job["template"]["spec"]


def test_both_clusters_restart_jobs_as_the_tested_one():
    tested = dict(
        line.split(": ") for line in (FLINK / "flink-conf.yaml").read_text().splitlines() if line.startswith("restart-")
    )
    assert len(tested) == 3
    operator = one("FlinkDeployment", "molino-flink")["spec"]["flinkConfiguration"]
    (variable,) = pods()["kubernetes-session.yaml", "molino-flink-jobmanager"]["containers"][0]["env"]
    for found in (operator, yaml.safe_load(variable["value"])):
        assert {name: str(value) for name, value in found.items() if name in tested} == tested


def test_only_the_cluster_reaches_the_worker_pools():
    policy = one("NetworkPolicy", "molino-taskmanagers")["spec"]
    labels = one("Deployment", "molino-flink-taskmanager", FILES[1])["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert json.dumps(policy["ingress"]) == json.dumps(
        [{"from": [{"podSelector": {"matchLabels": {"app": labels["app"]}}}]}]
    )
