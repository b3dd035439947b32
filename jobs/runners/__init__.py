"""Beam's runners: their options, their progress, their failures, and how a command ends."""
