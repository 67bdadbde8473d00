"""Reference models in use: fit and apply, watch a folder, drift, the review app."""
