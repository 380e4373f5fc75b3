"""The tables of queue.db: those of the first version, and what each later one added."""

VERSION = 2

# Small rows that change (chunk, outcome) are apart from large ones that never do (payload), so that a fold does not
# rewrite addresses. `due` is null once every recipient of the chunk is final: done chunks leave the index.
TABLES = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;
CREATE TABLE run (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    campaign TEXT NOT NULL,
    counter INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    recipients_hash TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    rows INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    suppressed INTEGER NOT NULL DEFAULT 0,
    watermark INTEGER NOT NULL DEFAULT 0,
    events_offset INTEGER NOT NULL DEFAULT 0,
    settings BLOB NOT NULL,
    UNIQUE (campaign, counter)
);
CREATE TABLE chunk (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    destination TEXT NOT NULL,
    list TEXT,
    size INTEGER NOT NULL,
    remaining INTEGER NOT NULL,
    due REAL,
    delivered INTEGER NOT NULL DEFAULT 0,
    deferred INTEGER NOT NULL DEFAULT 0,
    bounced INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    suppressed INTEGER NOT NULL DEFAULT 0,
    in_doubt INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX chunk_due ON chunk (run, destination, due, remaining) WHERE due IS NOT NULL;
CREATE INDEX chunk_run ON chunk (run);
CREATE TABLE payload (
    chunk INTEGER PRIMARY KEY,
    addresses BLOB NOT NULL,
    rows BLOB NOT NULL
);
CREATE TABLE outcome (
    chunk INTEGER PRIMARY KEY,
    records BLOB NOT NULL,
    texts BLOB
);
CREATE TABLE unpublished (
    sequence INTEGER PRIMARY KEY,
    chunk INTEGER NOT NULL,
    position INTEGER NOT NULL,
    outcome BLOB NOT NULL
);
CREATE TABLE suppression (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash INTEGER NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    time REAL NOT NULL
);
CREATE INDEX suppression_hash ON suppression (hash);
CREATE TABLE suppression_removal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,
    key TEXT NOT NULL
);
"""

# By the version that they lead away from. A new file goes through all of them.
UPGRADES = {
    # Few entries are for a whole domain, for a campaign or for a time: small indexes tell whether there are any.
    1: """
ALTER TABLE suppression ADD COLUMN expires REAL;
CREATE INDEX suppression_domain ON suppression (id) WHERE substr(key, 1, 1) = '@';
CREATE INDEX suppression_campaign ON suppression (id) WHERE substr(scope, 1, 9) = 'campaign:';
CREATE INDEX suppression_expires ON suppression (expires) WHERE expires IS NOT NULL;
CREATE TABLE suppression_history (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    scope TEXT NOT NULL,
    time REAL NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL
);
CREATE INDEX suppression_history_key ON suppression_history (key);
CREATE TABLE soft_bounce (
    key TEXT NOT NULL,
    run TEXT NOT NULL,
    time REAL NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (key, run)
) WITHOUT ROWID;
CREATE TABLE feedback_settings (
    campaign TEXT PRIMARY KEY,
    settings BLOB NOT NULL
) WITHOUT ROWID
""",
}
