"""The command line: parse, dispatch, report errors in one line."""
