"""The process of one job: sleeps to the next fire time, calls the endpoint, reports."""
