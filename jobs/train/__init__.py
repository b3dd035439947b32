"""Trainings as jobs: their command lines, what they read, and what they write under the run protocol."""
