"""A Flink cluster by its REST interface, for what Beam's runner leaves out.

Beam says nothing for a minute and a half where no cluster answers, does not tell how far a job is, and leaves the job
running when its command is stopped; and Flink tries again what the data does not allow.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from molino.jobs.options import FLINK
from molino.jobs.runners.failures import innermost
from molino.transforms.errors import DataError, OptionError

ANSWER_SECONDS = 10.0
LOOK_SECONDS = 2.0
LATE_SECONDS = 3.0  # how long a job that was being submitted may take to appear
END_SECONDS = 60.0
CAUSE_LENGTH = 90
ENDED = ("FINISHED", "FAILED", "CANCELED")


def cluster_of(runner: str, options: Any) -> "Cluster | None":
    """Return the cluster that Beam's options name; None where there is none, or Beam starts one in its job server.

    Raises OptionError: no cluster is named, or there is no Java or no jar for the job server.
    """
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, JobServerOptions, PortableOptions

    if runner != FLINK:
        return None
    given = options.view_as(FlinkRunnerOptions)
    java = options.view_as(JobServerOptions).job_server_java_launcher
    ready = given.flink_submit_uber_jar or options.view_as(PortableOptions).job_endpoint
    if not ready and not shutil.which(java):
        what = f"there is no program {java}, which runs the job server"
        raise OptionError(f"{what}; add --flink_submit_uber_jar, or get it")
    jar = given.flink_job_server_jar
    if jar and "://" not in jar and not os.path.isfile(jar):
        raise OptionError(f"there is no file {jar}; check --flink_job_server_jar")
    if given.flink_master == "[auto]" and not options.view_as(PortableOptions).job_endpoint:
        raise OptionError("--flink_master HOST:PORT is missing; deploy/flink/start makes a cluster on this machine")
    if given.flink_master in ("[local]", "[auto]"):
        return None
    master = given.flink_master.strip().rstrip("/")
    # from the cluster's version Beam takes the job server's, but not when it starts one
    version = "" if given.flink_submit_uber_jar or given.flink_job_server_jar else given.flink_version
    url = master if "://" in master else f"http://{master}"
    return Cluster(url, options.get_all_options()["job_name"], version=version)


class Cluster:
    """A cluster, by the URL of its REST interface, and the one job on it that this command submits, by name.

    `version` is that of Flink, as the job server will be; "" where it does not matter.
    """

    def __init__(self, url: str, name: str, *, version: str = ""):
        self.url, self.name, self.version = url, name, version
        self.before: frozenset[str] = frozenset()

    def check(self) -> None:
        """Remember the jobs that were there before; DataError where no Flink answers, OptionError for another one."""
        try:
            found = self._ask("/v1/overview")["flink-version"]
            self.before = frozenset(job["jid"] for job in self._jobs())
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = f"no Flink answers at {self.url}: {getattr(error, 'reason', error)}"
            raise DataError(f"{what}; check --flink_master") from None
        minor = ".".join(found.split(".")[:2])
        if self.version and self.version != minor:
            raise OptionError(f"{self.url} is Flink {found}; add --flink_version {minor}")

    def how_far(self) -> tuple[float, str]:
        """Return which share of the job's tasks is done, and what a person may read."""
        try:
            job = self._job()
        except (OSError, ValueError):
            return 0.0, f"Flink does not answer at {self.url}"
        if not job:
            return 0.0, "handing the job to Flink"
        tasks = job["tasks"]
        done, total = tasks["finished"], tasks["total"]
        state = f", {job['state'].lower()}{self._cause(job)}"
        if job["state"] == "RUNNING":
            state = ", waiting for free slots" if tasks.get("scheduled") and not tasks.get("running") else ""
        return done / max(total, 1), f"{done} of {total} tasks done on Flink{state}"

    def _cause(self, job: dict[str, Any]) -> str:
        """Return why a job's tasks were lost: the innermost cause in Flink's words, as far as they fit in a line."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if cause := innermost(self._exception(job)):
                return f" after {cause[:CAUSE_LENGTH]}"
        return ""

    def cancel(self) -> None:
        """End the job if it is there and at work, and wait for its end, at most a minute."""
        limit = time.monotonic() + LATE_SECONDS
        job: dict[str, Any] = {}
        try:
            while not (job := self._job()) and time.monotonic() < limit:
                time.sleep(0.2)
            if job and job["state"] not in ENDED:
                with contextlib.suppress(urllib.error.HTTPError):  # it has just ended
                    self._ask(f"/v1/jobs/{job['jid']}?mode=cancel", "PATCH")
            limit = time.monotonic() + END_SECONDS
            while job and job["state"] not in ENDED and time.monotonic() < limit:
                time.sleep(0.2)
                job = self._job()
        except (OSError, ValueError) as error:
            what = f"cannot tell Flink to stop the job {self.name}: {error}"
            print(f"molino: {what}; look at {self.url}", file=sys.stderr)

    @contextlib.contextmanager
    def ended_at_once(self, explain: Callable[[str], str]) -> Iterator[None]:
        """End the job, and raise DataError, at the first error that it would meet again with every restart.

        `explain` returns what a person reads of such an error in Flink's text, "" where there is none.
        """
        found: list[str] = []
        over = threading.Event()

        def look() -> None:
            while not found and not over.wait(LOOK_SECONDS):
                with contextlib.suppress(OSError, ValueError, KeyError):
                    job = self._job()
                    line = explain(self._exception(job)) if job else ""
                    found.extend([line] if line else [])
            if found:
                self.cancel()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        except Exception:
            if found:
                raise DataError(found[0]) from None
            raise
        finally:
            over.set()
            thread.join()

    def _jobs(self) -> Sequence[dict[str, Any]]:
        return self._ask("/v1/jobs/overview")["jobs"]

    def _job(self) -> dict[str, Any]:
        """Return the overview of the job, empty while it is not there."""
        ours = (job for job in self._jobs() if job["name"] == self.name and job["jid"] not in self.before)
        return max(ours, key=lambda job: job["start-time"], default={})

    def _exception(self, job: dict[str, Any]) -> str:
        """Return Flink's text of what last went wrong in a job, empty where nothing did."""
        told = self._ask(f"/v1/jobs/{job['jid']}/exceptions")
        history = told.get("exceptionHistory", {}).get("entries", [])  # Flink 2 has nothing else
        return told.get("root-exception") or next((entry["stacktrace"] for entry in history), "")

    def _ask(self, path: str, method: str = "GET") -> Any:
        # without a proxy, as Beam's own client of Flink
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.url + path, method=method), timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)
