"""Titles of products: keys, merged duplicates, labels, splits, and their vectors."""
