"""Where the shelf's scorers and parts met batches and parameters at the edge of what there is."""

import pytest
import torch

from musc_lite import MutualScorer, NearestScorer
from musc_lite.scorers.base import DEFAULT_CONTEXT, PatchScorer
from musc_lite.scorers.fusion import Fusion
from musc_lite.scorers.memory_bank import MemoryBankScorer


def test_no_image_is_without_a_patch_of_another_one():
    """A small bank may hold patches of one image alone, which then had nothing to be compared with: IndexError."""
    tokens = torch.zeros(3, 4, 2)
    tokens[0, 2] = 9.0
    scorer = MemoryBankScorer(coreset_ratio=0.2)
    assert scorer.fit_score(tokens).isfinite().all()
    assert scorer.state()["bank"].tolist() == [2, 4]


def test_a_fusion_of_scores_without_spread():
    """Scores that are all the same were divided by nearly nothing: a new image's were infinite."""
    tokens = torch.ones(4, 3, 2)
    fusion = Fusion([NearestScorer(), MutualScorer()])
    assert fusion.fit_score(tokens).abs().max() == 0
    torch.testing.assert_close(fusion.score(tokens[:1] + 3, tokens), torch.full((1, 3), 18**0.5))


def test_a_fusion_does_not_take_rounding_for_spread():
    class NearlyOne(PatchScorer):
        def fit_score(self, batch, context=DEFAULT_CONTEXT):
            return 1 + 1e-7 * batch[..., 0]

        def score(self, new, batch, context=DEFAULT_CONTEXT):
            return new[..., 0]

    fusion = Fusion([NearlyOne(), NearlyOne()])
    assert fusion.fit_score(torch.arange(12.0).reshape(4, 3, 1)).abs().max() < 1e-5
    torch.testing.assert_close(fusion.score(torch.full((1, 3, 1), 3.0), torch.ones(4, 3, 1)), torch.full((1, 3), 2.0))


def test_a_fusion_follows_its_parameter():
    """Once asked for anything it kept the scorers it had then, whatever was set later."""
    tokens = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    fusion, other = Fusion([MutualScorer(), NearestScorer()]), [NearestScorer(2), NearestScorer(3)]
    fusion.check()
    fusion.fit_score(tokens)
    fusion.set_params(scorers=other)
    assert "number 3" in fusion.provenance()["scorer"]
    assert torch.equal(fusion.fit_score(tokens), Fusion(other).fit_score(tokens))


@pytest.mark.parametrize("wrong", [[], [NearestScorer()], NearestScorer(), 3, [NearestScorer(), "nearest"]], ids=repr)
def test_a_fusion_of_fewer_than_two_scorers(wrong):
    with pytest.raises(ValueError, match="a fusion takes two scorers or more"):
        Fusion(wrong).check()
    with pytest.raises(ValueError, match="k must be a whole number, 1 or more, got 0"):
        Fusion([MutualScorer(), NearestScorer(0)]).check()
