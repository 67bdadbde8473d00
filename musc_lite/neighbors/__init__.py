"""Nearest patches, fast: products in tiles on all cores, or in one kernel on a GPU; within a memory budget."""
