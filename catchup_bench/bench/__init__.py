"""TODO catchup_bench.bench."""
