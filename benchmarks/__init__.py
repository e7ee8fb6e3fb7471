"""Where the README's figures come from: the whole system, on servers of its own, under load."""
