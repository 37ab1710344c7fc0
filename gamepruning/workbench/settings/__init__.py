"""What each command can be told."""
