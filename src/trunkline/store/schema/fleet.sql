-- Applications and what runs of them. The fleet owns these tables; the page, REST and the command line read them.

CREATE TABLE applications (
    tenant      text NOT NULL,
    name        text NOT NULL,
    project     text NOT NULL,               -- canonical name of the project whose files define it
    branch      text NOT NULL,
    path        text NOT NULL,               -- file:line of the definition
    body        jsonb NOT NULL,              -- fleet.AppState without its instances
    status      jsonb NOT NULL DEFAULT '{}', -- fleet.Status of the last reconciliation
    version     bigint NOT NULL DEFAULT 0,   -- counts writes; a late writer is refused
    updated     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name)
);

CREATE TABLE instances (
    tenant       text NOT NULL,
    application  text NOT NULL,
    id           text NOT NULL,
    serial       integer NOT NULL,
    state        text NOT NULL,
    provider     text NOT NULL,
    cloud        text NOT NULL,
    region       text NOT NULL,
    jurisdiction text NOT NULL,
    request_id   uuid,                       -- node_requests.id
    node_id      uuid,                       -- nodes.id
    commit       text,
    build        uuid,
    published    boolean NOT NULL DEFAULT false,
    health       text NOT NULL DEFAULT 'unknown',
    created      timestamptz NOT NULL DEFAULT now(),
    ended        timestamptz,                -- set when the instance is gone; the row stays as evidence
    body         jsonb NOT NULL,             -- fleet.Instance
    PRIMARY KEY (tenant, application, id),
    FOREIGN KEY (tenant, application) REFERENCES applications (tenant, name) ON DELETE CASCADE
);
CREATE INDEX instances_alive ON instances (tenant, application) WHERE ended IS NULL;
CREATE INDEX instances_by_request ON instances (request_id);

-- Where an instance came from: commit → landing → change → builds.
CREATE TABLE rollouts (
    tenant      text NOT NULL,
    application text NOT NULL,
    commit      text NOT NULL,
    started     timestamptz NOT NULL,
    state       text NOT NULL,
    reason      text NOT NULL DEFAULT '',
    ended       timestamptz,
    change      text,                        -- ref key of the change that landed it, where known
    PRIMARY KEY (tenant, application, commit, started),
    FOREIGN KEY (tenant, application) REFERENCES applications (tenant, name) ON DELETE CASCADE
);

-- One row per vantage point and instance: the present streak of equal results.
CREATE TABLE probes (
    tenant      text NOT NULL,
    application text NOT NULL,
    instance    text NOT NULL,
    vantage     text NOT NULL,
    ok          boolean NOT NULL,
    count       integer NOT NULL,
    since       timestamptz NOT NULL,
    last        timestamptz NOT NULL,
    detail      text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, application, instance, vantage),
    FOREIGN KEY (tenant, application) REFERENCES applications (tenant, name) ON DELETE CASCADE
);

-- What is published; the file, REST and DNS all say this.
CREATE TABLE endpoints (
    tenant      text NOT NULL,
    application text NOT NULL,
    generation  bigint NOT NULL,
    document    jsonb NOT NULL,
    updated     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, application),
    FOREIGN KEY (tenant, application) REFERENCES applications (tenant, name) ON DELETE CASCADE
);

-- What was done, when and why: one row per action of a plan.
CREATE TABLE fleet_actions (
    id          bigserial PRIMARY KEY,
    tenant      text NOT NULL,
    application text NOT NULL,
    instance    text,
    kind        text NOT NULL,
    reason      text NOT NULL,
    body        jsonb NOT NULL,
    at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX fleet_actions_by_application ON fleet_actions (tenant, application, id);

-- Application files that could not be read as they landed; the last good definition stays in force.
CREATE TABLE application_faults (
    tenant      text NOT NULL,
    project     text NOT NULL,
    branch      text NOT NULL,
    commit      text NOT NULL,
    messages    jsonb NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, project, branch)
);
