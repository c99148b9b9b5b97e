-- Views of the fleet page that people saved, and which one is whose start page.

CREATE TABLE saved_views (
    owner       text NOT NULL REFERENCES users ON DELETE CASCADE,
    name        text NOT NULL,
    query       text NOT NULL,                      -- the page's query string: filters and range
    shared      boolean NOT NULL DEFAULT false,     -- others may open it too
    changed_ms  bigint NOT NULL,
    PRIMARY KEY (owner, name)
);

CREATE TABLE start_views (
    username  text PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    owner     text NOT NULL,
    name      text NOT NULL,
    FOREIGN KEY (owner, name) REFERENCES saved_views ON DELETE CASCADE
);
