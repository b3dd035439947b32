"""Batch jobs on Apache Beam that mill raw public data into Parquet that training jobs can trust.

The rooms stand at the top level of the repository: `jobs`, `transforms`, `schemas` and `training` here are links to
them, so that they have one name, `molino.jobs` and so on, installed or not.
"""

VERSION = "0.1.0"
