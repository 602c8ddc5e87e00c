"""Training methods: one file each. File name = method name = CLI name; files that begin with ``_`` are helpers."""
