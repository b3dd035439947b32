"""One module per job, and the run protocol that they share."""

VERSION = "0.1.0"
