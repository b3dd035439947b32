"""Pure functions on Arrow batches, and the PTransforms that wire them."""
