"""The demonstration: drives the commands a user would type, on real data, and says in plain words what happened."""
