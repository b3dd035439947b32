"""Records from delimited text and from tables in Parquet, each with its place in the input."""
