"""Categories of titles, by a classifier that training saved."""
