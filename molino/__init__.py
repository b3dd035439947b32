"""Batch jobs on Apache Beam that mill raw public data into Parquet: see docs/architecture.md for its rooms."""

VERSION = "0.1.0"
