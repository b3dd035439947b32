# The workers of Beam's runners, in two images with one environment.
#
#   docker build -t molino .
#     workers of Flink and other runners: with --worker_pool the sidecar of a task manager. Not root.
#   docker build -t molino-dataflow --target dataflow .
#     workers of Dataflow, and the launcher of its flex templates. Root: see below.
#
# Beam's version is that of requirements/run.txt: Beam refuses another.

FROM apache/beam_python3.11_sdk:2.77.0 AS beam

FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:20230622_RC00 AS launcher

# Everything that is pinned, and this program. What it takes to install it stays behind in this stage.
FROM python:3.11.14-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements /molino/requirements
# tensorflow first: it pins setuptools, which builds the few packages that come as source
RUN for lock in tensorflow run dataflow aws heic images shapes xlsx; do \
      python -m pip install --no-deps --no-build-isolation --require-hashes -r "/molino/requirements/$lock.txt" \
      || exit 1; \
    done
COPY setup.py pyproject.toml README.md LICENSE /molino/
COPY jobs /molino/jobs
COPY schemas /molino/schemas
COPY training /molino/training
COPY transforms /molino/transforms
COPY molino /molino/molino
RUN python -m pip install --no-deps --no-build-isolation /molino \
    && python -m pip check \
    && molino --version

FROM python:3.11.14-slim-bookworm AS environment
COPY --from=packages /usr/local /usr/local
COPY --from=beam /opt/apache/beam /opt/apache/beam
# What workers write besides the output: models, compiled loops and fonts; and Beam's boot makes an environment for each
# worker. The folders are open to any user, for a cluster may choose one. Beam's boot starts workers before this program
# could see to it that they call their runner on the same machine through no proxy; a list of one's own needs these too.
ENV MOLINO_CACHE=/var/cache/molino \
    NUMBA_CACHE_DIR=/var/cache/molino/numba \
    MPLCONFIGDIR=/var/cache/molino/matplotlib \
    no_grpc_proxy=localhost,127.0.0.1,::1 \
    PYTHONUNBUFFERED=1
RUN install -d -m 1777 /var/cache/molino /opt/apache/beam-venv \
    && useradd --uid 10001 --user-group --create-home molino
ENTRYPOINT ["/opt/apache/beam/boot"]

# Dataflow mounts folders of root into its workers, and the launcher writes to /var/log: neither starts as another user.
# The launcher starts FLEX_TEMPLATE_PYTHON_PY_FILE with the template's parameters. It needs no requirements and no
# setup file: workers have this image.
FROM environment AS dataflow
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY deploy/dataflow/launch.py /opt/molino/launch.py
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/molino/launch.py

FROM environment AS molino
USER 10001
EXPOSE 50000
