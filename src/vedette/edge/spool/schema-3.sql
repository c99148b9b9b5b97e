-- From version 2 to 3: fewer pages per commit. Each index costs a page in the write-ahead log for
-- every message that comes and for every one that goes, and a page is what wears the disk.

-- Only eviction asked for it, which is rare and may read all rows.
DROP INDEX message_rank;
