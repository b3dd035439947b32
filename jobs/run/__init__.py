"""The life of a run: its plan, its identity, its lock, its commit. What commits and verifies imports no Beam."""
