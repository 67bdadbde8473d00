"""Run under nbval the notebooks show no progress bars, as they were committed."""

import os

os.environ["TQDM_DISABLE"] = "1"

# The hidden tests are for submissions: teaching/assignment/grade.py runs them.
collect_ignore_glob = ["*.py", "teaching/*"]
