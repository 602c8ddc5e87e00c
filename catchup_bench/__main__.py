"""``python -m catchup_bench``."""

from catchup_bench.cli import main

if __name__ == "__main__":
    main()
