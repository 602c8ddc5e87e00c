"""Speed, as ratios within one run: of corruptions against their published form, of suites against forward passes."""
