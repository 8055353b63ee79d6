"""Tests of what happens to rows on their way in, and of the twins."""
