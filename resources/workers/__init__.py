"""Engines on machines that see neither the lake nor the home: jobs with leases, and both ends of them."""
