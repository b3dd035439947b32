"""Photographs: listed, read, decoded, encoded, and named."""
