"""Run under nbval the notebooks show no progress bars, as they were committed."""

import os

os.environ["TQDM_DISABLE"] = "1"
