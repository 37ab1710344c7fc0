"""How coalitions are valued: in chunks, by rank-one updates, on samples of rows."""
