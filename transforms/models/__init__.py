"""Language models: what they are, whether they may be trusted, and how they embed titles."""
