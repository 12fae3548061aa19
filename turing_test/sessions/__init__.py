"""One participant: arrival, assignment, trials, ending."""
