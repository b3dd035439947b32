"""Commands that are no jobs. Nobody imports them but the command line."""
