"""What a run found, as data, tables, figures and a page."""
