"""Several sending processes for one run, over the one that owns its state directory."""
