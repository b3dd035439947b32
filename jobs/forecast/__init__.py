"""What a run will take. Knows no job."""
