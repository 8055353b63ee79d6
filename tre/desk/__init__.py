"""The desk: everything outside the wall. No authority, no secrets but the person's own token, no import of secure code."""
