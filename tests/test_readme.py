import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_stages_run_as_the_readme_says():
    """Run the block that calls the stages one by one, on fewer images."""
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "aggregate" in b)
    block = block.replace('planted_textures("gravel")', 'planted_textures("gravel", n_images=6, n_defective=2)')
    names = {}
    exec("import musc_lite\n" + block, names)
    assert names["aggregated"].shape == (6, 256, 384)
    assert names["distances"].shape == (6, 256, 5)
    assert names["maps"].shape == (6, 224, 224)
    assert np.isfinite(names["scores"].numpy()).all()


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).parents[1] / link).exists(), link
