"""The command line, the jobs, and what every run of them shares."""
