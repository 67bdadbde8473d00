"""The method in order; each file begins with its equation.

===========  ======================  =================================================
acronym      file                    what it is
===========  ======================  =================================================
LNAMD        aggregation             local neighborhood aggregation with multiple degrees
SNAMD        aggregation             aggregation weighted by similarity
MSM          mutual_scoring          mutual scoring of the patches
RsCIN        rescoring               re-scoring with a constrained image neighborhood
RsCon        rescoring               RsCIN with the image alone always among its neighborhoods
===========  ======================  =================================================

Before them: ``features`` (tokens of all images) and ``roi_detection``. After them: ``maps``, ``thresholds`` and
``conformal``. Beside them: ``similarity_counts``, which explorers use.
"""
