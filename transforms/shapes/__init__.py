"""Problems in the plane, and small networks that learn them."""
