"""The fleet page: every site, worst first."""
