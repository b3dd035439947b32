"""What trains on the Parquet that the jobs write; it needs neither the jobs nor Beam."""
