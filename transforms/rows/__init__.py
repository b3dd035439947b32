"""Batches of rows: what they are, how they travel, and how they are brought together by key."""
