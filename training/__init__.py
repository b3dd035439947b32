"""Training on the Parquet that the jobs write: readers, models, exports. Never Beam, never the jobs' own code."""
