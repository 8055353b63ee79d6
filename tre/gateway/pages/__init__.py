"""The pages of output checkers, served under /review: rendered here, without scripts."""
