"""The region of interest of a photograph."""
