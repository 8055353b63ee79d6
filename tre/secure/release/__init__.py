"""From a rehearsal's claims to a signed release: planning, the check, review, publication."""
