"""Where engines run: hosts, devices, leases."""
