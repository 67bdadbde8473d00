"""What no one comes here to read: errors, files, threads, progress, what parameters can be."""
