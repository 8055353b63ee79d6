"""Rules: pure functions over values. No files, no clock, no network, no randomness; import-linter holds that."""
