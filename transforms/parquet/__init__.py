"""Parquet files whose bytes depend on their rows alone, staged once and described so that they can be verified."""
