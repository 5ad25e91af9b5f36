-- One table for what waits and for history: the id's uniqueness is the dedupe, over both.
-- Times are milliseconds since 1970 (UTC). outcome: 0 pending, 1 delivered, 2 dead letter, 3 dropped, 4 muted, 5 grouped.
CREATE TABLE notice (
  place     INTEGER PRIMARY KEY AUTOINCREMENT,
  id        TEXT    NOT NULL UNIQUE,
  lane      TEXT    NOT NULL,
  "trigger" TEXT    NOT NULL,
  namespace TEXT    NOT NULL,
  kind      TEXT    NOT NULL,
  name      TEXT    NOT NULL,
  uid       TEXT    NOT NULL,
  service   TEXT    NOT NULL,
  recipient TEXT    NOT NULL,
  created   INTEGER NOT NULL,
  due       INTEGER NOT NULL,
  outcome   INTEGER NOT NULL DEFAULT 0,
  attempts  INTEGER NOT NULL DEFAULT 0,
  waited    INTEGER NOT NULL DEFAULT 0,
  finished  INTEGER,
  took      INTEGER,
  reason    TEXT,
  answer    TEXT,
  payload   BLOB    NOT NULL
);
CREATE INDEX notice_lane ON notice (lane, place) WHERE outcome = 0;
CREATE INDEX notice_pending ON notice (place) WHERE outcome = 0;
CREATE INDEX notice_dead ON notice (place) WHERE outcome = 2;

CREATE TABLE attempt (
  notice TEXT    NOT NULL,
  at     INTEGER NOT NULL,
  took   INTEGER NOT NULL,
  reason TEXT    NOT NULL,
  answer TEXT    NOT NULL
);
CREATE INDEX attempt_notice ON attempt (notice);

CREATE TABLE state (
  scope TEXT NOT NULL,
  key   TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (scope, key)
) WITHOUT ROWID;

CREATE TABLE handle (
  instance  TEXT    NOT NULL,
  recipient TEXT    NOT NULL,
  key       TEXT    NOT NULL,
  value     TEXT    NOT NULL,
  updated   INTEGER NOT NULL,
  PRIMARY KEY (instance, recipient, key)
) WITHOUT ROWID;
