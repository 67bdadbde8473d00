"""Photos: folders, files and arrays become an `ImageSet`, with labels and masks where they are known."""
