"""The networks of the commands, and the user's own."""
