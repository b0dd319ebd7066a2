-- The ledger, the counters and buckets tenants read, and the small state of the daemon.

create schema if not exists meshmetrics;
comment on schema meshmetrics is 'meshmetrics: private tables and functions. Tenants have no access.';

-- 1. What counts ------------------------------------------------------------------------------

create type meshmetrics.outcome as enum ('success', 'failure', 'canceled');

create table meshmetrics.status_outcomes (
  status text primary key,
  outcome meshmetrics.outcome not null
);
comment on table meshmetrics.status_outcomes is
  'Which status of a run is which outcome. A status that is not listed is not terminal.';

insert into meshmetrics.status_outcomes (status, outcome) values
  ('succeeded', 'success'),
  ('failed', 'failure'),
  ('canceled', 'canceled');

-- 2. What tenants read ------------------------------------------------------------------------

create table public.workflow_run_metrics (
  workflow_id uuid primary key references public.workflow_definitions (id) on delete cascade,
  project_id uuid not null references public.projects (id) on delete cascade,
  success_count bigint not null default 0,
  failure_count bigint not null default 0,
  canceled_count bigint not null default 0,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  last_updated timestamptz not null default clock_timestamp(),
  revision bigint not null default 0
) with (fillfactor = 50); -- rewritten at every count: room for heap-only updates
create index workflow_run_metrics_project_id on public.workflow_run_metrics (project_id);
comment on table public.workflow_run_metrics is
  'Finished runs of each workflow version, by outcome. revision grows by one at every change.';

-- No foreign key: checking one for each bucket written cost more than all the rest of counting
-- (docs/decisions/0006). Buckets are written while their workflow's row above is locked, and go
-- when it goes: the trigger meshmetrics.forget_workflows.
create table public.workflow_run_buckets (
  workflow_id uuid not null,
  project_id uuid not null,
  grain text collate "C" not null check (grain in ('minute', 'quarter', 'day')),
  bucket_start timestamptz not null,
  success_count integer not null,
  failure_count integer not null,
  canceled_count integer not null,
  primary key (workflow_id, grain, bucket_start)
) with (fillfactor = 80);
comment on table public.workflow_run_buckets is
  'Finished runs by the time they finished at. quarter is 15 minutes; day is a UTC day.';

-- 3. What is private --------------------------------------------------------------------------

create table meshmetrics.counted_runs (
  run_id uuid primary key,
  workflow_id uuid not null,
  finished_at timestamptz not null,
  outcome meshmetrics.outcome not null
);
-- Finds a workflow's last success or failure when the one counted as the last is withdrawn.
create index counted_runs_workflow_id on meshmetrics.counted_runs (workflow_id, outcome, finished_at);
comment on table meshmetrics.counted_runs is
  'The ledger: what each run was last counted as. It has no foreign key, so that the engine''s deletes never wait for it.';

create table meshmetrics.retired_buckets (
  workflow_id uuid not null,
  grain text collate "C" not null check (grain in ('minute', 'quarter', 'day')),
  bucket_start timestamptz not null,
  success_count integer not null,
  failure_count integer not null,
  canceled_count integer not null,
  primary key (workflow_id, grain, bucket_start)
);
comment on table meshmetrics.retired_buckets is
  'The part of workflow_run_buckets that deleted runs left behind: buckets = ledger + retired.';

create table meshmetrics.set_aside_runs (
  run_id uuid primary key,
  workflow_id uuid,
  reason text not null,
  run_updated_at timestamptz,
  since timestamptz not null default clock_timestamp()
);
comment on table meshmetrics.set_aside_runs is
  'Runs that cannot be counted, and why. Looked at again when the run changes.';

create table meshmetrics.kept_from (
  grain text collate "C" primary key check (grain in ('minute', 'quarter', 'day')),
  since timestamptz not null
);
comment on table meshmetrics.kept_from is
  'Buckets that start before this are not kept: neither written nor corrected, and pruned.';

insert into meshmetrics.kept_from (grain, since) values
  ('minute', date_trunc('minute', now() - interval '48 hours')),
  ('quarter', date_trunc('day', now() - interval '400 days', 'UTC')),
  ('day', '-infinity');

create table meshmetrics.checkpoint (
  name text primary key check (name in ('sweep', 'backfill', 'retire')),
  updated_at timestamptz not null,
  run_id uuid not null default '00000000-0000-0000-0000-000000000000',
  done boolean not null default false
);
comment on table meshmetrics.checkpoint is
  'How far the walks got: over workflow_runs by (updated_at, id), over the ledger by run_id.';

-- Sweeps watch what changes from now on; what is older is the back-fill's.
insert into meshmetrics.checkpoint (name, updated_at) values
  ('sweep', now()),
  ('backfill', '-infinity'),
  ('retire', '-infinity');

create table meshmetrics.lease (
  name text primary key check (name = 'pipeline'),
  holder uuid not null,
  holder_name text not null,
  taken_at timestamptz not null,
  renewed_at timestamptz not null,
  expires_at timestamptz not null
);
comment on table meshmetrics.lease is 'Which daemon works. The others stand by.';

-- 4. Row-level security, on everything; the policies are in policies.sql ------------------------

alter table public.workflow_run_metrics enable row level security;
alter table public.workflow_run_buckets enable row level security;
alter table meshmetrics.status_outcomes enable row level security;
alter table meshmetrics.counted_runs enable row level security;
alter table meshmetrics.retired_buckets enable row level security;
alter table meshmetrics.set_aside_runs enable row level security;
alter table meshmetrics.kept_from enable row level security;
alter table meshmetrics.checkpoint enable row level security;
alter table meshmetrics.lease enable row level security;
