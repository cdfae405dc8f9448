-- What was tested and how it ended: refs, buildsets, builds, and what is held for them.
--
-- Times are timestamptz (UTC); the web prints them without a zone. `id` is the order in which rows were made and
-- the key that clients page by. Texts that come from the review system are stored as they came.

-- One thing that can be tested: a change's patch set, a branch tip, a tag. `project` is the project's name without
-- its host; `canonical` has both. Nulls are equal here, so `insert … on conflict` finds the row of a branch as well.
create table refs (
    id          bigserial primary key,
    connection  text not null,
    canonical   text not null,
    project     text not null,
    branch      text,
    change      bigint,
    patchset    text,
    ref         text not null,
    oldrev      text,
    newrev      text,
    ref_url     text,
    constraint refs_unique unique nulls not distinct (connection, project, branch, change, patchset, ref, oldrev, newrev)
);
create index refs_project_branch on refs (project, branch);
create index refs_change on refs (change, patchset) where change is not null;

-- One run of an item's job graph. A gate reset makes a new one; those without a result were given up.
create table buildsets (
    id                      bigserial primary key,
    uuid                    text not null unique,
    tenant                  text not null,
    pipeline                text not null,
    owner                   text,                   -- the queue's id
    queue_item_uuid         text,
    zuul_ref                text,
    event_id                text,
    event_timestamp         timestamptz,
    user_id                 text,
    parameters              jsonb,
    result                  text,
    message                 text,
    created                 timestamptz not null default now(),
    first_build_start_time  timestamptz,
    last_build_end_time     timestamptz
);
create index buildsets_tenant on buildsets (tenant, id desc);
create index buildsets_item on buildsets (queue_item_uuid);

create table buildset_refs (
    buildset_id  bigint not null references buildsets (id) on delete cascade,
    ref_id       bigint not null references refs (id),
    position     integer not null default 0,        -- in the order of the item's changes
    primary key (buildset_id, ref_id)
);
create index buildset_refs_ref on buildset_refs (ref_id, buildset_id desc);

create table buildset_events (
    id           bigserial primary key,
    buildset_id  bigint not null references buildsets (id) on delete cascade,
    event_time   timestamptz not null default now(),
    event_type   text not null,                     -- the first one is 'triggered'
    description  text not null default ''
);
create index buildset_events_buildset on buildset_events (buildset_id, id);

-- One run of one job. `request` is all that an executor needs; `state` is where the run is, `result` how it ended.
create table builds (
    id                bigserial primary key,
    uuid              text not null unique,
    buildset_uuid     text not null references buildsets (uuid) on delete cascade,
    owner             text,                         -- the queue's id, to which events of this build go
    tenant            text not null,
    pipeline          text not null,
    job_name          text not null,
    ref_id            bigint not null references refs (id),
    voting            boolean not null default true,
    nodeset           text not null default '',
    attempt           integer not null default 1,
    state             text not null default 'requested'
                      constraint builds_state check (state in ('requested', 'running', 'paused', 'complete')),
    result            text,
    error_detail      text,
    final             boolean,                      -- null until it ends; false: another attempt followed
    held              boolean,                      -- null until it ends
    pre_fail          boolean not null default false,
    log_url           text,
    executor          text,                         -- 'host:port' that streams the console of a running build
    request           jsonb,
    cancel_requested  boolean not null default false,
    resume_requested  boolean not null default false,
    data              jsonb not null default '{}',
    secret_data       bytea,
    warnings          jsonb not null default '[]',
    execute_time      timestamptz,                  -- asked for
    start_time        timestamptz,                  -- an executor began
    end_time          timestamptz
);
create index builds_tenant on builds (tenant, id desc);
create index builds_buildset on builds (buildset_uuid, id);
create index builds_ref on builds (ref_id, id desc);
create index builds_job on builds (tenant, job_name, id desc);
create index builds_unfinished on builds (owner, state) where state <> 'complete';
-- Estimates come from the last successful runs of a job of a project.
create index builds_estimates on builds (tenant, job_name, ref_id, end_time desc) where result = 'SUCCESS';

create table artifacts (
    id        bigserial primary key,
    build_id  bigint not null references builds (id) on delete cascade,
    name      text not null,
    url       text not null,
    metadata  jsonb
);
create index artifacts_build on artifacts (build_id);
create index artifacts_name on artifacts (name);

create table provides (
    id        bigserial primary key,
    build_id  bigint not null references builds (id) on delete cascade,
    name      text not null
);
create index provides_build on provides (build_id);
create index provides_name on provides (name);

-- Requests to keep the nodes of failing builds. `id` is shown with ten digits.
create table autoholds (
    id               bigserial primary key,
    tenant           text not null,
    project          text not null,                 -- canonical
    job              text not null,
    ref_filter       text not null default '.*',
    reason           text not null default '',
    max_count        integer not null default 1,
    current_count    integer not null default 0,
    node_expiration  integer not null default 0,    -- seconds, 0 = never
    expired          timestamptz,                   -- when it was used up
    nodes            jsonb not null default '[]',   -- [{build, nodes: [id]}]
    created          timestamptz not null default now()
);
create index autoholds_tenant on autoholds (tenant, project, job);
