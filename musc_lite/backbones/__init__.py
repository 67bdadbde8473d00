"""Frozen vision transformers and where their weights come from."""
