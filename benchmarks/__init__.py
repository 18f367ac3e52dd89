"""Where README's figures come from. `make bench` runs them: Farthing on one core, upstream and load on the other."""
