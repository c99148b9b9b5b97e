"""Everything that happened to a device or a site, in one list.

told       health reports → what changed between them (pure)
keeping    doing that by the hour, so that it outlives the reports
words      rows of the database → entries with words (pure)
merging    several lists in order → one page and where it goes on (pure)
reading    the sources, asked and merged
spells     began and ended → stretches of time (pure)
"""
