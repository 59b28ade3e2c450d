"""What made what: hashes, library versions, and whether a run only repeats another."""
