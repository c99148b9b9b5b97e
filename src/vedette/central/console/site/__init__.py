"""A site's page: what is wrong there, what to do, and how much of its time was seen."""
