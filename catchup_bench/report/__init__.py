"""A page of what is stored of one run, or of several side by side; and the picture of how a method mixes."""
