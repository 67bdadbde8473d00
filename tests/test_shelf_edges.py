"""Where the shelf's scorers and parts met batches and parameters at the edge of what there is."""

import torch

from musc_lite.scorers.memory_bank import MemoryBankScorer


def test_no_image_is_without_a_patch_of_another_one():
    """A small bank may hold patches of one image alone, which then had nothing to be compared with: IndexError."""
    tokens = torch.zeros(3, 4, 2)
    tokens[0, 2] = 9.0
    scorer = MemoryBankScorer(share=0.2)
    assert scorer.fit_score(tokens).isfinite().all()
    assert scorer.state()["bank"].tolist() == [0, 4]
