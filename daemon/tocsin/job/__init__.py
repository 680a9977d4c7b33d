"""The process of one job: it sleeps until the next due instant, calls the endpoint, and reports the result."""
