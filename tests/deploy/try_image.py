"""Run the steps of Dockerfile where there is no Docker: stages are folders, RUN is a chroot.

    python tests/deploy/try_image.py FOLDER [--target molino] [--keep STAGE ...]

Needs root, overlay mounts, debootstrap, Go, the registries, and some 8 GB. The base images cannot be had so. For
Python's stands a Debian of debootstrap with this machine's Python 3.11 in /usr/local; for Beam's a tree with the boot
program alone, compiled from the Go module of that version; a COPY from the launcher's image is told and left out. The
checks run in the target's tree, as the image's user, in a network of their own.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
LIBRARIES = "ca-certificates,netbase,tzdata,libssl3,libsqlite3-0,libffi8,libbz2-1.0,liblzma5,libreadline8,libncursesw6"
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PIP_CACHE = Path.home() / ".cache/pip"
APART = "MOLINO_IMAGE_APART"  # set in the process that has mounts of its own


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile: ("RUN", "python -m pip ...")."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


class Stage:
    """A stage at work: its tree, and what its instructions set."""

    def __init__(self, folder: Path, below: "Stage | None", base: Path | None):
        self.folder, self.root = folder, folder / "root"
        self.environment = dict(below.environment) if below else {"PATH": PATH, "LANG": "C.UTF-8"}
        self.user, self.entry = (below.user, below.entry) if below else ("0", "")
        self.layers = [folder / "upper", *(below.layers if below else [base])]
        for name in ("upper", "work", "root"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        lower = ":".join(map(str, self.layers[1:]))
        options = f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True)
        for place, name in (("/proc", "proc"), ("/dev", "dev"), (PIP_CACHE, "pip-cache")):
            (self.root / name).mkdir(exist_ok=True)
            subprocess.run(["mount", "--rbind", place, self.root / name], check=True)

    def run(self, command: str, *, more: dict[str, str] | None = None, alone: bool = False) -> str:
        """Run a command of the shell in the stage as its user; return what it says. `alone`: without a network."""
        inside = ["chroot", f"--userspec={self.user}", self.root, "/bin/sh", "-c", command]
        if alone:
            # a network and processes of its own: whatever it starts ends with it
            apart = ["unshare", "--net", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc"]
            inside = [*apart, "sh", "-c", 'ip link set lo up && "$@"', "sh", *inside]
        home = "/root" if self.user == "0" else "/home/molino"
        environment = {**self.environment, "HOME": home, **(more or {})}
        if more:
            environment.pop("PIP_NO_CACHE_DIR", None)  # whatever its value, there would be no cache
        done = subprocess.run(list(map(str, inside)), env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{command}\nended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}")
        return done.stdout + done.stderr


def copy(source: Path, target: Path) -> None:
    """Copy a file or the content of a folder, as COPY does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    more = ["-a", "--no-preserve=ownership"]
    subprocess.run(["cp", *more, f"{source}/." if source.is_dir() else source, target], check=True)


def build(target: str, folder: Path, bases: dict[str, Path | None], keep: Sequence[str]) -> Stage:
    """Run all stages that the target needs; return its own.

    Args:
      keep: stages of which nothing is run, but what an earlier call made is taken.
    """
    stages: dict[str, Stage | None] = {}
    current: Stage | None = None
    skipped = kept = False
    # what stands in for the network of a build: pip's settings and the cache of this machine
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and name != "PIP_FIND_LINKS"}
    pip["PIP_CACHE_DIR"] = "/pip-cache"
    wanted = needed(target)
    for word, rest in instructions(DOCKERFILE.read_text()):
        if word == "FROM":
            image, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            skipped, kept = name not in wanted, name in keep
            if skipped:
                continue
            if name in ("beam", "launcher"):
                stages[name], skipped = None, True
                continue
            print(f"FROM {image} AS {name}", flush=True)
            current = stages[name] = Stage(folder / name, stages.get(image), bases["python"])
        elif skipped or (kept and word in ("COPY", "RUN")):
            continue
        elif word == "COPY":
            words = shlex.split(rest)
            place = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
            root = ROOT if not place else stages[place].root if stages[place] else bases[place]  # type: ignore[union-attr]
            if root is None:
                print(f"not done: COPY {rest}", flush=True)
                continue
            for source in words[:-1]:
                copy(root / source.lstrip("/"), current.root / words[-1].lstrip("/"))
        elif word == "RUN":
            print(f"RUN {rest[:100]}", flush=True)
            said = current.run(rest, more=pip)
            print("    " + said.strip().splitlines()[-1] if said.strip() else "", flush=True)
        elif word == "ENV":
            current.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "USER":
            current.user = rest
        elif word == "ENTRYPOINT":
            current.entry = shlex.join(eval(rest))
    return stages[target]  # type: ignore[return-value]


def needed(target: str) -> set[str]:
    """Return the stages that a target is made of."""
    parts: dict[str, set[str]] = {}
    for word, rest in instructions(DOCKERFILE.read_text()):
        if word == "FROM":
            image, name = rest.split(" AS ")
            parts[name] = {image}
        elif word == "COPY" and rest.startswith("--from="):
            parts[name].add(rest.split()[0].removeprefix("--from="))
    found, todo = set(), {target}
    while todo:
        found |= todo
        todo = {each for name in todo for each in parts.get(name, set()) if each in parts} - found
    return found


def make_python(folder: Path) -> Path:
    """Return a Debian with this Python in /usr/local, and pip and setuptools as it bundles them."""
    tree = folder / "python"
    if (tree / "whole").exists():
        return tree
    subprocess.run(["debootstrap", "--variant=minbase", f"--include={LIBRARIES}", "bookworm", tree], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    prefix = Path(sysconfig.get_config_var("prefix"))
    ignored = shutil.ignore_patterns("site-packages", "__pycache__", "test", "idlelib")
    for name in ("bin", "include", "lib"):
        shutil.copytree(prefix / name, tree / "usr/local" / name, ignore=ignored, dirs_exist_ok=True, symlinks=True)
    shutil.copy(CERTIFICATES, tree / CERTIFICATES.lstrip("/"))
    shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
    shutil.copy("/etc/hosts", tree / "etc/hosts")
    for command in ("ldconfig", "rm -f /usr/local/bin/pip*", "python3.11 -m ensurepip"):
        subprocess.run(["chroot", tree, "/bin/sh", "-c", command], check=True, env={"PATH": PATH},
                       stdout=subprocess.DEVNULL)  # fmt: skip
    (tree / "usr/local/bin/python").unlink(missing_ok=True)
    (tree / "usr/local/bin/python").symlink_to("python3.11")
    (tree / "whole").touch()
    return tree


def make_boot(folder: Path) -> Path:
    """Return a tree with Beam's boot program, of the version that setup.py pins."""
    tree = folder / "beam"
    boot = tree / "opt/apache/beam/boot"
    if not boot.exists():
        version = re.search(r"^apache-beam==(\S+)", (ROOT / "requirements/run.txt").read_text(), re.M)[1]  # type: ignore[index]
        made = folder / "go"
        module = f"github.com/apache/beam/sdks/v2/python/container@v{version}"
        subprocess.run(["go", "install", module], check=True, env={**os.environ, "GOBIN": str(made)})
        boot.parent.mkdir(parents=True)
        shutil.copy(made / "container", boot)
    return tree


CHECKS = {
    "no broken requirement": "python -m pip check",
    "every job is imported": "python -W ignore -c 'import tensorflow, boto3, google.cloud.storage, obstore; "
    "from molino.jobs import names, titles, whales, pca, shapes, predict; from molino.jobs.commands import train; "
    "from molino.transforms.whales import extract, find_salient_region; from molino.transforms.models import nnlm; "
    "from molino.transforms.shapes import train_network; from molino.transforms.titles import labels'",
    "the help": "molino --help",
    "the cache is there to write": "touch /var/cache/molino/x && rm /var/cache/molino/x",
    "a job of each package": "cd /tmp/try && molino sample names --output n.txt --rows 2000 && "
    "molino names --input n.txt --output embedded --quiet && "
    "molino sample whales --output sea --images 2 && molino whales --input sea/images --output w --quiet && "
    "molino shapes --output s --rows 2000 --sweep demo.yaml --problem ring --no-plots --quiet && "
    "molino sample titles --output t.csv --rows 300 && molino titles --input t.csv --output t --quiet",
}
# the pool that Flink's task managers talk to, by Beam's own boot; the job is run by it on Beam's own job service
POOL = """
cd /tmp/try
{entry} --worker_pool > pool.log 2>&1 &
sleep 10
(while sleep 0.5; do ls /opt/apache/beam-venv; done > environments) &
molino names --input n.txt --output pooled --quiet --shuffle runner --runner PortableRunner \
  --job_endpoint embed --environment_type EXTERNAL --environment_config localhost:50000 || exit 1
cat pool.log
sort -u environments
[ "$(grep -h '^ "digest"' embedded/_manifest.json pooled/_manifest.json | uniq | wc -l)" = 1 ] && echo the same digest
"""
# what it says then: the pool, an environment that the boot made for a worker of it, and the end
POOLED = ("Starting worker pool", "beam-venv-worker-", "the same digest")


def check(stage: Stage) -> None:
    """Do what the image is for, as its user."""
    stage.run("rm -rf /tmp/try && mkdir /tmp/try")
    copy(ROOT / "sweeps/demo.yaml", stage.root / "tmp/try/demo.yaml")
    for name, command in CHECKS.items():
        stage.run(command, alone=True)
        print(f"ok: {name}", flush=True)
    said = stage.run(POOL.format(entry=stage.entry), alone=True)
    for wanted in POOLED:
        print(f"{'ok' if wanted in said else 'MISSING'}: a job by the worker pool: {wanted}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="molino")
    parser.add_argument("--keep", nargs="+", default=[], metavar="STAGE", help="as an earlier call made it")
    given = parser.parse_args()
    if APART not in os.environ:
        # mounts of its own: they go with this process, and nothing that is deleted here reaches what is mounted
        os.execvpe("unshare", ["unshare", "--mount", sys.executable, *sys.argv], {**os.environ, APART: "1"})
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    PIP_CACHE.mkdir(parents=True, exist_ok=True)
    bases = {"python": make_python(folder), "beam": make_boot(folder), "launcher": None}
    for name in needed(given.target) - set(bases) - set(given.keep):
        shutil.rmtree(folder / name, ignore_errors=True)
    check(build(given.target, folder, bases, given.keep))


if __name__ == "__main__":
    main()
