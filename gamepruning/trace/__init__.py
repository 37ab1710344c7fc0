"""UNDERSTAND: from any pure function to its labelled program and its units."""
