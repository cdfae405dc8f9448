-- Events that wait for an owner, in order. A row is done when the transaction that used it commits.
create table events (
    id bigint generated always as identity primary key,
    owner text not null,
    event jsonb not null,
    created timestamptz not null default clock_timestamp(),
    done timestamptz,
    version int                      -- of the owner's state that this event led to
);
create index events_waiting on events (owner, id) where done is null;
create index events_by_owner on events (owner, id);

-- The live state of each queue, as the gate left it.
create table queues (
    id text primary key,
    tenant text not null,
    pipeline text not null,
    name text not null,
    branch text,
    version int not null default 0,
    state bytea not null,
    updated timestamptz not null default clock_timestamp()
);
create index queues_by_pipeline on queues (tenant, pipeline);

-- Which refs are in which queue: derived from queues.state, for looking up.
create table queue_items (
    item text not null,
    ref_key text not null,
    queue_id text not null,
    tenant text not null,
    pipeline text not null,
    project text not null,
    change int,
    patchset text,
    live boolean not null default true,
    user_id text,                              -- who had it enqueued by hand
    parameters jsonb,
    primary key (item, ref_key)
);
create index queue_items_by_ref on queue_items (tenant, ref_key);
create index queue_items_by_change on queue_items (tenant, project, change);
create index queue_items_by_queue on queue_items (queue_id);

-- What a future is made of: commits, config files, repository states; content for the freeze and the builds.
create table futures (
    id text primary key,
    item text not null,
    queue_id text not null,
    tenant text not null,
    pipeline text not null,
    base text not null default '',
    changes jsonb not null,                    -- [gate.Change with its merge mode], those from ahead first
    own int not null default 1,                -- how many at the end are the item's
    commits jsonb not null default '{}',       -- {"project@branch": commit}
    repo_state jsonb not null default '{}',    -- {canonical project: {ref: commit}}
    files jsonb not null default '{}',         -- {change key: [path…]}
    containing jsonb not null default '{}',    -- {tag's key: [branch that contains it…]}
    config jsonb not null default '[]',        -- [{connection, project, canonical, branch, files: {path: blob}}]
    config_before jsonb not null default '[]', -- the same without the item's own changes
    errors jsonb not null default '[]',        -- configuration errors, for the report
    debug jsonb not null default '[]',
    graph jsonb,
    created timestamptz not null default clock_timestamp()
);
create index futures_by_item on futures (item);

create table frozen_jobs (
    future_id text not null references futures (id) on delete cascade,
    name text not null,
    change text not null,
    job jsonb not null,
    primary key (future_id, name, change)
);

-- Semaphores: who holds, who waits.
create table semaphore_holders (
    scope text not null,             -- the tenant, or '' for a global semaphore
    name text not null,
    queue_id text not null,
    item text not null,
    job text not null,
    ticket text not null,
    buildset text not null,
    tenant text not null,
    since timestamptz not null default clock_timestamp(),
    primary key (scope, name, ticket)
);
create table semaphore_waiters (
    id bigint generated always as identity primary key,
    tenant text not null,
    queue_id text not null,
    item text not null,
    job text not null,
    buildset text not null,
    ticket text not null unique,
    names jsonb not null,            -- [{scope, name, max}]
    priority int not null,
    relative_priority int not null default 0
);

-- Tenants and the configuration that was read for them.
create table tenants (
    name text primary key,
    position int not null default 0,
    spec jsonb not null,
    generation int not null default 0,
    wanted int not null default 1,           -- generation asked for; reconfiguring while it is ahead
    fingerprint text,                        -- of what the generation in force was made of
    state jsonb not null default '{}',       -- event queues paused or discarding
    reconfigured timestamptz
);
create table config_projects (
    connection text not null,
    project text not null,
    default_branch text not null,
    branches jsonb not null,                   -- {branch: head}
    problem text,                              -- why it could not be read
    read timestamptz not null default clock_timestamp(),
    primary key (connection, project)
);
create table config_branches (
    connection text not null,
    project text not null,
    branch text not null,
    paths_key text not null default '',        -- which extra paths were looked for
    head text not null,
    files jsonb not null,                      -- {path: blob id}, as in force
    held jsonb,                                -- errors of a newer head that is not in force because of them
    primary key (connection, project, branch, paths_key)
);
create table config_blobs (
    blob text primary key,
    text text not null
);

-- Keys that the installation made for projects and tenants, encrypted with the keystore's password.
create table keys (
    scope text not null,             -- connection/project or tenant:NAME
    kind text not null,              -- secrets | ssh
    private bytea not null,
    public text not null,
    created timestamptz not null default clock_timestamp(),
    primary key (scope, kind)
);

-- Where each connection's event stream has been read to.
create table stream_positions (
    connection text primary key,
    position jsonb not null,
    seen timestamptz not null default clock_timestamp()
);
create table stream_heads (
    connection text not null,
    project text not null,
    heads jsonb not null,
    primary key (connection, project)
);
create table seen_deliveries (
    connection text not null,
    delivery text not null,
    seen timestamptz not null default clock_timestamp(),
    primary key (connection, delivery)
);

-- Processes that are alive.
create table components (
    kind text not null,
    hostname text not null,
    instance text not null,
    state text not null,
    pid int not null,
    version text not null,
    worker_id bigint,
    details jsonb not null default '{}',
    seen timestamptz not null default clock_timestamp(),
    primary key (kind, hostname, instance)
);
create table system_events (
    id bigint generated always as identity primary key,
    tenant text not null,
    event_id text,
    event_time timestamptz not null default clock_timestamp(),
    event_type text not null,
    description text not null
);
-- What is known of each ref that entered a queue, for builds and reports: connections.ChangeInfo or the like.
create table ref_infos (
    key text primary key,
    info jsonb not null,
    seen timestamptz not null default clock_timestamp()
);
-- What the tenant file says beyond tenants.
create table installation (
    one boolean primary key default true check (one),
    body jsonb not null
);
-- Reports by their key: begun before they are sent, done after.
create table reports_said (
    report text primary key,
    done boolean not null default false,
    begun timestamptz not null default clock_timestamp()
);
-- How pipelines fare that are to fall silent after too many failures in a row.
create table pipeline_failures (
    tenant text not null,
    pipeline text not null,
    generation int not null,                   -- of the layout: a new one begins anew
    failures int not null default 0,
    disabled boolean not null default false,
    primary key (tenant, pipeline)
);
