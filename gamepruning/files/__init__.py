"""Files that are whole or absent: atomic writes and stores of arrays."""
