"""Principal components of vectors, and what keeping fewer of them costs."""
