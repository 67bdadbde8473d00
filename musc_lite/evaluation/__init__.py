"""How good it is: the paper's tables, and how few images suffice."""
