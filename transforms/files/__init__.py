"""Files wherever they lie: a disk, S3, Cloud Storage; listings, copies, and keys that are read from files."""
