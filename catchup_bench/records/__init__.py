"""Records: the outcomes of runs and where they came from."""
