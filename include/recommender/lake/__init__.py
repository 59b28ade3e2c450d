"""Snapshots: how a download lands in the lake, and how a run finds its own."""
