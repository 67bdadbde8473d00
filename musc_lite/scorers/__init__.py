"""Ways to score the patches of a batch, one file a method; `base` is what all of them promise."""
