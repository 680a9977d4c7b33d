"""Who calls on time? Tocsin beside what users would pick instead; see docs/performance.md."""
