"""Tables over many tested runs, with their plots."""
