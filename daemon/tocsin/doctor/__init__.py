"""`tocsin doctor`: looks at everything a run depends on, against the real target, without running a job's work."""
