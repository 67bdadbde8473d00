"""What a batch is made of: groups of images."""
