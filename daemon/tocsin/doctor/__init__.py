"""`tocsin doctor`: checks everything that a run depends on, with the real target, without running a job's work."""
