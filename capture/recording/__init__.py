"""Record any program."""
