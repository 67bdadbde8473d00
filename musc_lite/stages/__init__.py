"""The method in the order of the paper: features, aggregation, mutual scoring, maps, re-scoring, thresholds."""
