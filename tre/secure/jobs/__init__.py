"""Jobs: from a submitted notebook to a plan, and to a run in the sandbox."""
