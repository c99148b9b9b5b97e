-- Deliveries that a person sends again: their pauses begin anew.

ALTER TABLE deliveries ADD COLUMN replayed integer NOT NULL DEFAULT 0;  -- tries before that
