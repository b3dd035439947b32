"""CURPs, people, and the tables of their names."""
