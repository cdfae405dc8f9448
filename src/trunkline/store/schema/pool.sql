-- Who we are to the clouds: stamped on everything that we create there, so that leaks are found by listing.
create table pool_identity (
    one boolean primary key default true check (one),
    id text not null
);
insert into pool_identity (id) values (gen_random_uuid()::text);

-- Nodes asked for: one row for all nodes of a nodeset.
create table node_requests (
    id uuid primary key,
    owner text not null,
    tenant text not null,
    pipeline text not null default '',
    project text not null default '',
    job text not null default '',
    buildset_uuid text,
    event_id text,
    labels jsonb not null,           -- [label…] in node order
    priority int not null default 200,
    relative_priority int not null default 0,
    provider text,                   -- the only one that may serve it
    zone text,
    constraints jsonb,               -- {jurisdictions, regions, never_regions, clouds}
    keep boolean not null default false,
    state text not null default 'requested',
    accepted_by text,                -- canonical name of the provider at work
    node_ids jsonb not null default '[]',
    declined_by jsonb not null default '[]',   -- [{provider, reason}]
    failures jsonb not null default '{}',      -- {provider: launches that failed there}
    error text,
    created timestamptz not null default clock_timestamp(),
    state_time timestamptz not null default clock_timestamp()
);
create index node_requests_live on node_requests (priority, relative_priority, created)
    where state in ('requested', 'accepted', 'fulfilled');
create index node_requests_by_tenant on node_requests (tenant, created);

-- Servers that are, were asked for, or must go. The row is written before the server is asked for and goes after it.
create table nodes (
    id uuid primary key,
    request_id uuid,
    owner text,
    tenant text not null default '',
    label text not null,
    flavor text not null default '',
    needs jsonb not null default '{}',
    provider text not null,
    region text not null,
    cloud text not null,
    az text,
    server_id text,
    hostname text,
    interface_ip text,
    public_ipv4 text,
    private_ipv4 text,
    public_ipv6 text,
    private_ipv6 text,
    connection_port int not null default 22,
    connection_type text not null default 'ssh',
    username text,
    shell_type text,
    host_keys jsonb not null default '[]',
    host_key_checking boolean not null default true,
    python_path text not null default 'auto',
    state text not null default 'requested',
    next_state text,
    state_time timestamptz not null default clock_timestamp(),
    created timestamptz not null default clock_timestamp(),
    create_sent timestamptz,         -- when the cloud was last asked to create it
    locked_by text,
    hold_reason text,
    hold_job text,
    hold_expires timestamptz,
    comment text,
    trouble text,
    attempt int not null default 1,
    keep boolean not null default false,
    is_static boolean not null default false,
    reuse boolean not null default false,
    slot text,
    host_id text,
    executor_zone text,
    floating_ip_id text,
    metadata jsonb not null default '{}'
);
create index nodes_by_request on nodes (request_id);
create index nodes_by_region on nodes (cloud, region);
create index nodes_by_tenant on nodes (tenant);

-- Provider regions as last seen by their launcher.
create table regions (
    cloud text not null,
    region text not null,
    provider text not null default '',
    vendor text not null default '',
    city text not null default '',
    country text not null default '',
    jurisdiction text not null default '',
    lat double precision,
    lon double precision,
    state text not null default 'healthy',     -- healthy | degraded | down
    reason text not null default '',
    since timestamptz not null default clock_timestamp(),
    quota jsonb not null default '{}',
    usage jsonb not null default '{}',
    health jsonb not null default '{}',
    offer jsonb not null default '{}',
    launcher text,
    seen timestamptz,
    primary key (cloud, region)
);

-- The providers of each tenant's layout, as the scheduler wrote them when it was read.
create table provider_specs (
    tenant text not null,
    name text not null,
    spec jsonb not null,
    updated timestamptz not null default clock_timestamp(),
    primary key (tenant, name)
);

-- Images uploaded by us, one row a region.
create table image_uploads (
    cloud text not null,
    region text not null,
    image text not null,
    checksum text not null,
    format text not null default '',
    external_id text,
    state text not null default 'pending',     -- pending | uploading | ready | failed | deleting
    error text,
    state_time timestamptz not null default clock_timestamp(),
    primary key (cloud, region, image, checksum)
);
