-- Rows that every report changes leave room in their page, so that the change stays in it and touches
-- no index (heap-only tuples). A page of `devices` holds one device and two older versions of it.
-- The newest health stays in the row and is not compressed: it is replaced every 30 seconds.

ALTER TABLE devices ALTER COLUMN health SET STORAGE EXTERNAL;
ALTER TABLE devices SET (fillfactor = 30, toast_tuple_target = 8160);
ALTER TABLE lanes SET (fillfactor = 50);
