"""What happens to a tenant, told to its own endpoints: signed, at least once, with a log of every attempt."""
